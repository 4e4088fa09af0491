// The one place that ties the templates to Preact.
import { h } from "./vendor/preact.mjs";
import htm from "./vendor/htm.mjs";

export { Fragment, render } from "./vendor/preact.mjs";
export { useCallback, useEffect, useMemo, useRef, useState } from "./vendor/hooks.mjs";
export const html = htm.bind(h);
