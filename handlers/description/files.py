"""The files of a message, by the groups of a description: their links, kinds, ends and sizes."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from handlers import fields, wire
from handlers.contract import Asset, HttpMessage, Kind
from handlers.description.vocabulary import Files
from handlers.pointers import every, first, steps
from handlers.walk import BY_TYPE, Link, inline, type_of, walk

Read = Callable[[Any, HttpMessage], tuple[Asset, ...]]
Group = Callable[[Any, HttpMessage], list[Asset]]

FACTS: Mapping[str, Callable[[object], Any]] = {
    "mime_type": fields.identity,
    "width": fields.whole,
    "height": fields.whole,
    "duration": fields.plausible,
    "fps": fields.plausible,
    "has_sound": fields.flag,
    "deletes_at": fields.moment,
    "expires_at": fields.moment,
    "expires_in": fields.whole,
}
"""The reader of each fact about a file."""
NAMES = {"video": Kind.VIDEO, "image": Kind.IMAGE, "audio": Kind.AUDIO}
"""Words in the name of a field that tell the kind of its file."""
_QUERY = "query:"


def files_reader(groups: Sequence[Files]) -> Read:
    """Return the function that reads the files of a body, each link once."""
    compiled = [
        (_below(group) if group.below else _at(group), group.otherwise, _tops(group)) for group in groups
    ]

    def read(body: Any, message: HttpMessage) -> tuple[Asset, ...]:
        found: list[Asset] = []
        for group, otherwise, tops in compiled:
            # Most groups have nothing in most bodies, which one look at the fields at the top shows.
            if (tops.isdisjoint(body) and tops) or (otherwise and found):
                continue
            found += group(body, message)
        if len(found) < 2:
            return tuple(found)
        links: dict[object, Asset] = {}
        for index, asset in enumerate(found):
            links.setdefault(asset.url or asset.source or index, asset)
        return tuple(links.values())

    return read


def _tops(group: Files) -> frozenset[str]:
    """Return the fields at the top of a body below which a group looks; none where it looks at the whole."""
    paths = [steps(pointer) for pointer in (*(group.at or ()), *(group.below or ()))]
    return frozenset(path[0] for path in paths) if all(paths) else frozenset()


def _below(group: Files) -> Group:
    finds = [(every(pointer), pointer.rpartition("/")[2]) for pointer in group.below or ()]
    kinds = group.kinds or NAMES
    fixed = None if group.kind == "auto" else Kind(group.kind)
    expires, skip = _expiry(group), frozenset(group.skip)

    def asset(link: Link, message: HttpMessage) -> Asset:
        inline = link.url is None
        return Asset(
            kind=fixed or link.kind,
            url=link.url,
            mime_type=link.mime_type,
            deletes_at=message.received_at + group.life if group.life and not inline else None,
            expires_at=expires(link.url, message) if expires and link.url is not None else None,
        )

    def read(body: Any, message: HttpMessage) -> list[Asset]:
        nodes = [(node, name) for find, name in finds for node in find(body)]
        links = [one for node, name in nodes for one in walk(node, kinds, name=name, skip=skip)]
        found = [asset(one, message) for one in links]
        return found[:1] if group.one else found

    return read


def _at(group: Files) -> Group:
    finds = [
        (every(pointer), [(name, _named(pointer, name, group)) for name in group.link or (None,)])
        for pointer in group.at or ()
    ]
    make = _maker(group)

    def read(body: Any, message: HttpMessage) -> list[Asset]:
        found: list[Asset] = []
        for find, names in finds:
            for item in find(body):
                for name, kind in names:
                    value = item.get(name) if name is not None and isinstance(item, dict) else item
                    if (asset := make(value, kind, item, body, message)) is not None:
                        found.append(asset)
                        if group.one:
                            return found
        return found

    return read


def _maker(group: Files) -> Callable[[Any, Kind | None, Any, Any, HttpMessage], Asset | None]:
    """Return the function that makes a value of the group an asset; None for a value that is no file."""
    facts, expires = _facts(group), _expiry(group)
    fixed = None if group.kind == "auto" else Kind(group.kind)
    target = "source" if group.source else "url"
    read_link = fields.identity if group.source else fields.link

    def make(value: Any, kind: Kind | None, item: Any, body: Any, message: HttpMessage) -> Asset | None:
        link = read_link(value)
        if link is None and not group.source:
            return _inline(value, fixed, kind)
        if link is None or link == "0":
            return None
        told: dict[str, Any] = {name: tell(item, body) for name, tell in facts}
        kind = fixed or _kind(link, kind, item, told.get("mime_type"))
        if kind is Kind.IMAGE:
            told.pop("duration", None)
        if group.life and told.get("deletes_at") is None:
            told["deletes_at"] = message.received_at + group.life
        if expires and (ends := expires(link, message)) is not None:
            told["expires_at"] = ends
        if seconds := told.pop("expires_in", None):
            told["expires_at"] = message.received_at + timedelta(seconds=seconds)
        told[target] = link
        return Asset(kind=kind, **told)

    return make


def _inline(value: Any, fixed: Kind | None, named: Kind | None) -> Asset | None:
    """Return a file that stands in the message itself; None for a value that is none."""
    found = inline(value, named) if isinstance(value, str) else None
    return None if found is None else Asset(kind=fixed or found.kind, mime_type=found.mime_type)


def _kind(link: str, named: Kind | None, item: Any, mime: str | None) -> Kind:
    """Return the kind of a file: by its media type, its ending, its item's type or the name of its field."""
    if mime is not None and (typed := BY_TYPE.get(mime.partition("/")[0])) is not None:
        return typed
    beside = type_of(item)[0] if named is None and isinstance(item, dict) else None
    return Link(link, named, beside, mime).kind


def _named(pointer: str, link: str | None, group: Files) -> Kind | None:
    """Return the kind that the name of a field gives to the files at a pointer, else that of their item."""
    names = [name.lower() for name in (link, pointer.rsplit("/", 1)[-1]) if name]
    kinds = (group.kinds or NAMES).items()
    return next((kind for name in names for word, kind in kinds if word in name), None)


def _facts(group: Files) -> list[tuple[str, Callable[[Any, Any], Any]]]:
    def of(name: str, place: str) -> Callable[[Any, Any], Any]:
        read = FACTS[name]
        if place.startswith("/"):
            find = first((place,), read)
            return lambda _item, body: find(body)
        return lambda item, _body: read(item.get(place)) if isinstance(item, dict) else None

    return [(name, of(name, place)) for name, place in group.facts.items()]


def _expiry(group: Files) -> Callable[[str, HttpMessage], datetime | None] | None:
    if group.expires is not None:
        parameter = group.expires.removeprefix(_QUERY)
        return lambda link, _message: wire.expiry(link, parameter)
    if group.link_life is not None:
        life = group.link_life
        return lambda _link, message: message.received_at + life
    return None
