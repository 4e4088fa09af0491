// Plots of statistics over time, by uPlot.
import { html, useEffect, useRef, useState } from "./html.js";

const DARK = matchMedia("(prefers-color-scheme: dark)");
const COLORS = ["#2457d6", "#c2410c", "#15803d", "#9333ea", "#0e7490", "#a16207", "#be123c", "#475569"];

/** Return the columns of a plot: times, and for each series its counts, 0 where there is none. */
export function columns(stats) {
  const from = Math.floor(Date.parse(stats.since) / 1000 / stats.step) * stats.step;
  const until = Date.parse(stats.until) / 1000;
  const times = [];
  for (let at = from; at < until; at += stats.step) times.push(at);
  const place = new Map(times.map((at, index) => [at, index]));
  const series = stats.data.slice(0, COLORS.length).map((one) => {
    const values = new Array(times.length).fill(0);
    for (const point of one.points) values[place.get(Date.parse(point.at) / 1000)] = point.count;
    return values;
  });
  return [times, ...series];
}

/** Return whether the reader prefers a dark page, also when that changes. */
function useDark() {
  const [dark, set] = useState(DARK.matches);
  useEffect(() => {
    const changed = () => set(DARK.matches);
    DARK.addEventListener("change", changed);
    return () => DARK.removeEventListener("change", changed);
  }, []);
  return dark;
}

/** A plot of a statistic. A table with the sums stands beside it for screen readers. */
export function Plot({ stats, title, name }) {
  const box = useRef(null);
  const dark = useDark();
  useEffect(() => {
    if (!stats || !stats.data.length) return undefined;
    const names = stats.data.slice(0, COLORS.length).map((one) => name(one.labels));
    const axis = { stroke: dark ? "#c9ced6" : "#444", grid: { stroke: dark ? "#333a45" : "#e4e7ec" } };
    const made = new uPlot(
      {
        width: box.current.clientWidth,
        height: 170,
        legend: { show: true, live: false },
        axes: [axis, { ...axis, size: 46 }],
        scales: { y: { range: (_, low, high) => [0, Math.max(high, 1)] } },
        series: [{}, ...names.map((label, place) => ({ label, stroke: COLORS[place], width: 2, points: { show: false } }))],
      },
      columns(stats),
      box.current,
    );
    const fit = () => made.setSize({ width: box.current.clientWidth, height: 170 });
    addEventListener("resize", fit);
    return () => {
      removeEventListener("resize", fit);
      made.destroy();
    };
  }, [stats, dark]);
  const sums = (stats?.data || []).map((one) => `${name(one.labels)} ${one.count}`).join(", ");
  return html`<figure class="plot">
    <figcaption>${title}</figcaption>
    ${stats && !stats.data.length ? html`<p class="empty">nothing in this time</p>` : html`<div ref=${box} role="img" aria-label=${`${title}: ${sums}`}></div>`}
  </figure>`;
}
