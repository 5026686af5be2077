"""Runs inside a kernel, never imported by the server: what its variables are. Standard library only.

It calls nothing that the user wrote: no `__repr__`, `__len__`, `__getattr__` or property, for these may
hang or change things. What it shows comes from built-in types, through their own methods, and from a few
libraries; of all else, the type.
"""

import inspect
import itertools
import json
import sys
import types
from typing import Any

PREVIEW_CHARS = 100
DETAIL_CHARS = 2_000
DOC_CHARS = 4_000
MAX_ITEMS = 20
MAX_DEPTH = 3
MAX_COLUMNS = 200
MAX_MEMBERS = 200
MAX_INT_BITS = 1_000

# These read the type itself, whatever its metaclass says.
_name_of: Any = type.__dict__["__name__"].__get__
_qualname_of = type.__dict__["__qualname__"].__get__
_module_of = type.__dict__["__module__"].__get__
_mro_of = type.__dict__["__mro__"].__get__
_dict_of_type = type.__dict__["__dict__"].__get__
_dict_of_module: Any = vars(types.ModuleType)["__dict__"].__get__

FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
SCALARS: Any = (bool, float, complex, type(None), type(Ellipsis), type(NotImplemented), range, slice)


class Answer:
    """Text that is its own `repr`."""

    def __init__(self, value: Any) -> None:
        self.text = json.dumps(value)

    def __repr__(self) -> str:
        return self.text


def variables(limit: int) -> Answer:
    """The user's variables in order of name, at most *limit*; of the rest, names by kind."""
    shell = sys.modules["IPython"].get_ipython()
    hidden = shell.user_ns_hidden
    found: Any = {"variables": [], "functions": [], "classes": [], "modules": [], "omitted": 0}
    for name, value in sorted(pair for pair in list(shell.user_ns.items()) if type(pair[0]) is str):
        if name.startswith("_") or (name in hidden and hidden[name] is value):
            continue
        if issubclass(type(value), FUNCTIONS):
            found["functions"].append(name)
        elif issubclass(type(value), type) or _module_of(type(value)) == "typing":
            found["classes"].append(name)
        elif issubclass(type(value), types.ModuleType):
            found["modules"].append(name)
        elif len(found["variables"]) < limit:
            found["variables"].append(_variable(name, value, PREVIEW_CHARS))
        else:
            found["omitted"] += 1
    for kind in ("functions", "classes", "modules"):
        found["omitted"] += len(found[kind][limit:])
        del found[kind][limit:]
    return Answer(found)


def detail(path: str) -> Answer:
    """One object by its dotted name, or what is wrong with the name."""
    names = path.split(".")
    namespace = sys.modules["IPython"].get_ipython().user_ns
    value = namespace.get(names[0], vars(sys.modules["builtins"]).get(names[0], detail))
    if value is detail:
        return Answer({"missing": names[0]})
    for position, name in enumerate(names[1:], start=1):
        value = _attribute(value, name, detail)
        if value is detail:
            return Answer({"missing": ".".join(names[: position + 1])})
    found = _variable(path, value, DETAIL_CHARS)
    found["signature"] = _attempt(_signed, value) or ""
    found["documentation"] = _documentation(value)
    found["columns"] = _attempt(_columns_of, value) or []
    found["members"] = _attempt(_members_of, value) or []
    if issubclass(type(value), types.ModuleType):
        found["version"] = _version_of(value)
        found["file"] = _text_or_none(_dict_of_module(value).get("__file__"))
    return Answer(found)


def _variable(name: str, value: Any, chars: int) -> Any:
    facts = _attempt(_library_facts, value) or {}
    return {
        "name": name,
        "type": _type_name(type(value)),
        "shape": facts.get("shape"),
        "length": facts.get("length", _attempt(_length_of, value)),
        "size_bytes": facts.get("size_bytes", _attempt(_size_of, value)),
        "preview": _clipped(facts.get("preview") or _attempt(_preview, value, chars) or "", chars),
    }


def _attempt(function: Any, *arguments: Any) -> Any:
    """None when it fails: containers may change while they are read, and libraries differ."""
    try:
        return function(*arguments)
    except Exception:
        return None


def _type_name(cls: Any) -> Any:
    module = _module_of(cls)
    name = _qualname_of(cls)
    return name if type(module) is not str or module in ("builtins", "__main__") else module + "." + name


def _clipped(text: str, chars: int) -> Any:
    return text if len(text) <= chars else text[: chars - 1] + "…"


def _text_or_none(value: Any) -> Any:
    return str.__str__(value) if issubclass(type(value), str) else None


CONTAINERS: Any = (str, bytes, bytearray, list, tuple, dict, set, frozenset)


def _length_of(value: Any) -> Any:
    for base in CONTAINERS:
        if issubclass(type(value), base):
            return base.__len__(value)
    return len(value) if type(value) is range else None


def _size_of(value: Any) -> Any:
    """Of the object alone, without what it holds."""
    for base in (*CONTAINERS, int, *SCALARS):
        if issubclass(type(value), base):
            return base.__sizeof__(value)
    return None


def _preview(value: Any, chars: int, depth: int = 0) -> Any:
    """As `repr` has it, but _clipped, and with the type alone of what is not built in."""
    cls = type(value)
    if cls in SCALARS and cls is not slice:
        return repr(value)
    if "enum" in sys.modules and issubclass(cls, sys.modules["enum"].Enum):
        return "{}.{}".format(_name_of(cls), _text_or_none(_dict_of_object(value).get("_name_")))
    if issubclass(cls, int):
        if int.bit_length(value) > MAX_INT_BITS:
            return f"<int of {int.bit_length(value)} bits>"
        return _shown_as(cls, int, int.__repr__(value))
    if issubclass(cls, float):
        return _shown_as(cls, float, float.__repr__(value))
    if issubclass(cls, (str, bytes, bytearray)):
        base = next(one for one in CONTAINERS if issubclass(cls, one))
        text = base.__repr__(base.__getitem__(value, slice(0, chars)))
        return _shown_as(cls, base, text + ("…" if base.__len__(value) > chars else ""))
    for base, begin, end in ((list, "[", "]"), (tuple, "(", ")"), (set, "{", "}"), (frozenset, "{", "}")):
        if issubclass(cls, base):
            texts = [_inner(item, chars, depth) for item in itertools.islice(base.__iter__(value), MAX_ITEMS)]
            if base is tuple and len(texts) == 1:
                texts[0] += ","
            return _shown_as(cls, base, begin + _joined(texts, base.__len__(value)) + end)
    if issubclass(cls, dict):
        pairs = itertools.islice(dict.items(value), MAX_ITEMS)
        texts = [_inner(key, chars, depth) + ": " + _inner(item, chars, depth) for key, item in pairs]
        return _shown_as(cls, dict, "{" + _joined(texts, dict.__len__(value)) + "}")
    if cls in _standard_types():
        return repr(value)
    if "datetime" in sys.modules and issubclass(cls, sys.modules["datetime"].datetime):
        return "NaT" if _name_of(cls) == "NaTType" else _date_and_time(value)
    if issubclass(cls, type):
        return f"<class {_type_name(value)}>"
    if cls is types.FunctionType:
        return f"<function {value.__qualname__}>"
    facts = _library_facts(value)
    if facts:
        return "<{} {}>".format(_type_name(cls), facts.get("shape") or "")
    return f"<{_type_name(cls)}>"


def _date_and_time(value: Any) -> Any:
    """Without the time zone, which the user may have written."""
    fields = ("year", "month", "day", "hour", "minute", "second")
    own = sys.modules["datetime"].datetime
    year, month, day, *time = [_attribute(own, field, None).__get__(value) for field in fields]
    return "{:04}-{:02}-{:02} {:02}:{:02}:{:02}".format(year, month, day, *time)


def _inner(value: Any, chars: int, depth: int) -> Any:
    return "…" if depth >= MAX_DEPTH else _clipped(_preview(value, chars, depth + 1), chars)


def _joined(texts: Any, length: int) -> Any:
    return ", ".join([*texts, "…"] if length > len(texts) else texts)


def _shown_as(cls: Any, base: Any, text: str) -> Any:
    return text if cls is base else f"{_name_of(cls)}({text})"


def _standard_types() -> Any:
    """Whose `repr` is short and runs no code of the user; those with a time zone are not among them."""
    names = {"decimal": ["Decimal"], "fractions": ["Fraction"], "datetime": ["date", "timedelta"]}
    names.update({"pathlib": ["PosixPath", "WindowsPath"], "uuid": ["UUID"]})
    loaded = [
        (vars(sys.modules[module]), listed) for module, listed in names.items() if module in sys.modules
    ]
    return [namespace.get(name) for namespace, listed in loaded for name in listed]


def _library_class(value: Any, module: Any, name: str) -> Any:
    """The class *name* of a loaded library if *value* is of it or of a subclass."""
    library = sys.modules.get(module)
    cls = library and vars(library).get(name)
    return cls if cls and issubclass(type(value), cls) else None


def _library_facts(value: Any) -> Any:
    """Shape, size and preview of what well-known libraries make, through the methods of their own class."""
    for module, name, facts in LIBRARY:
        cls = _library_class(value, module, name)
        if cls is not None:
            return facts(cls, value)
    return None


def _array_facts(cls: Any, value: Any) -> Any:
    dtype = cls.dtype.__get__(value)
    shape = list(cls.shape.__get__(value))
    text = ""
    if dtype.kind in "biufcSUMm":
        first = cls.flat.__get__(value)[:MAX_ITEMS].tolist()
        texts = [repr(one)[:PREVIEW_CHARS] for one in first]
        text = " [" + _joined(texts, cls.size.__get__(value)) + "]"
    return {
        "shape": shape,
        "length": shape[0] if shape else None,
        "size_bytes": cls.nbytes.__get__(value),
        "preview": str(dtype) + text,
    }


def _numpy_scalar_facts(cls: Any, value: Any) -> Any:
    known = value.dtype.kind in "biufcSUMm" and _module_of(type(value)) == "numpy"
    return {"preview": repr(value.item())[:PREVIEW_CHARS] if known else ""}


def _frame_facts(cls: Any, value: Any) -> Any:
    rows, count = len(value._mgr.axes[1]), len(value._mgr.axes[0])
    names = [_preview(name, PREVIEW_CHARS) for name in value._mgr.axes[0][:MAX_ITEMS].tolist()]
    size = cls.memory_usage(value).sum() if count <= MAX_COLUMNS else None
    return {
        "shape": [rows, count],
        "length": rows,
        "size_bytes": None if size is None else int(size),
        "preview": "columns " + _joined(names, count),
    }


def _series_facts(cls: Any, value: Any) -> Any:
    items = [_preview(item, PREVIEW_CHARS) for item in value._mgr.blocks[0].values[:MAX_ITEMS].tolist()]
    return {
        "shape": [cls.__len__(value)],
        "length": cls.__len__(value),
        "size_bytes": int(cls.memory_usage(value)),
        "preview": f"{cls.dtype.fget(value)} [{_joined(items, cls.__len__(value))}]",
    }


def _index_facts(cls: Any, value: Any) -> Any:
    items = [_preview(item, PREVIEW_CHARS) for item in cls.__getitem__(value, slice(0, MAX_ITEMS)).tolist()]
    return {"shape": [len(value)], "length": len(value), "preview": f"[{_joined(items, len(value))}]"}


def _polars_frame_facts(cls: Any, value: Any) -> Any:
    shape = list(cls.shape.fget(value))
    return {
        "shape": shape,
        "length": shape[0],
        "size_bytes": int(cls.estimated_size(value)),
        "preview": "columns " + _joined([repr(name) for name in value.columns[:MAX_ITEMS]], shape[1]),
    }


def _polars_series_facts(cls: Any, value: Any) -> Any:
    length = cls.len(value)
    items = [_preview(item, PREVIEW_CHARS) for item in cls.head(value, MAX_ITEMS).to_list()]
    return {
        "shape": [length],
        "length": length,
        "size_bytes": int(cls.estimated_size(value)),
        "preview": f"{value.dtype} [{_joined(items, length)}]",
    }


def _tensor_facts(cls: Any, value: Any) -> Any:
    if _module_of(type(value)).partition(".")[0] != "torch":
        return {}
    shape = list(value.shape)
    return {
        "shape": shape,
        "length": shape[0] if shape else None,
        "size_bytes": value.numel() * value.element_size(),
        "preview": f"{value.dtype} on {value.device}",
    }


LIBRARY = (
    ("numpy", "ndarray", _array_facts),
    ("numpy", "generic", _numpy_scalar_facts),
    ("pandas", "DataFrame", _frame_facts),
    ("pandas", "Series", _series_facts),
    ("pandas", "Index", _index_facts),
    ("polars", "DataFrame", _polars_frame_facts),
    ("polars", "Series", _polars_series_facts),
    ("torch", "Tensor", _tensor_facts),
)


def _columns_of(value: Any) -> Any:
    """Name and dtype of each column of a DataFrame, at most MAX_COLUMNS."""
    cls = _library_class(value, "pandas", "DataFrame")
    if cls is not None:
        names = [_preview(name, PREVIEW_CHARS) for name in value._mgr.axes[0][:MAX_COLUMNS].tolist()]
        dtypes = value._mgr.get_dtypes()[:MAX_COLUMNS].tolist()
    else:
        cls = _library_class(value, "polars", "DataFrame")
        if cls is None:
            return []
        names, dtypes = [repr(name) for name in value.columns[:MAX_COLUMNS]], value.dtypes[:MAX_COLUMNS]
    return [[name, str(dtype)] for name, dtype in zip(names, dtypes)]  # noqa: B905 - older Pythons


def _members_of(value: Any) -> Any:
    """Public names of a module, a class, or an object of a class that is not built in."""
    if issubclass(type(value), types.ModuleType):
        names = list(_dict_of_module(value))
    elif issubclass(type(value), FUNCTIONS) or (
        _module_of(type(value)) == "builtins" and type(value) is not type
    ):
        return []
    else:
        cls = value if issubclass(type(value), type) else type(value)
        names = [name for one in _mro_of(cls) if one is not object for name in _dict_of_type(one)]
        if cls is not value:
            names += _dict_of_object(value)
    public = {name for name in names if type(name) is str and not name.startswith("_")}
    return sorted(public)[:MAX_MEMBERS]


def _attribute(value: Any, name: str, default: Any) -> Any:
    """What is there under this name, as it is stored: no property and no `__getattr__` is asked."""
    namespaces = []
    if issubclass(type(value), types.ModuleType):
        namespaces = [_dict_of_module(value)]
    elif issubclass(type(value), type):
        namespaces = [_dict_of_type(cls) for cls in _mro_of(value)]
    else:
        namespaces = [_dict_of_object(value), *(_dict_of_type(cls) for cls in _mro_of(type(value)))]
    found = next((names[name] for names in namespaces if name in names), default)
    return found.__func__ if type(found) in (staticmethod, classmethod) else found


def _dict_of_object(value: Any) -> Any:
    own: Any = next(
        (_dict_of_type(cls)["__dict__"] for cls in _mro_of(type(value)) if "__dict__" in _dict_of_type(cls)),
        None,
    )
    return own.__get__(value) if type(own) is types.GetSetDescriptorType else {}


def _documentation(value: Any) -> Any:
    text = value.__doc__ if issubclass(type(value), FUNCTIONS) else _attribute(value, "__doc__", None)
    if type(text) is types.GetSetDescriptorType:
        text = _attempt(text.__get__, value)
    text = _text_or_none(text)
    return _clipped(inspect.cleandoc(text), DOC_CHARS) if text else ""


def _signed(value: Any) -> Any:
    """The signature of a function or class, with defaults as previews; "" when it cannot be told."""
    if issubclass(type(value), type):
        function: Any = _attribute(value, "__init__", None)
        if type(function) is not types.FunctionType:
            return ""
        skipped = 1
    else:
        function, skipped = value, int(type(value) is types.MethodType)
        function = function.__func__ if skipped else function
        if _type_name(type(value)) == "numpy._ArrayFunctionDispatcher":
            function = value._implementation
    if type(function) is types.FunctionType:
        wrapped = vars(function).get("__wrapped__")  # as functools.wraps leaves it
        function = wrapped if type(wrapped) is types.FunctionType else function
        code, closure = function.__code__, function.__closure__
        source: Any = types.FunctionType(code, {}, function.__name__, function.__defaults__, closure)
        source.__kwdefaults__, source.__annotations__ = function.__kwdefaults__, _annotations(function)
    elif type(function) is types.BuiltinFunctionType or type(function) is type(list.append):
        source = function
    else:
        return ""
    try:
        signature = inspect.signature(source)
    except (TypeError, ValueError):
        return ""
    parameters = [_safe(one) for one in list(signature.parameters.values())[skipped:]]
    returns = signature.return_annotation
    return str(signature.replace(parameters=parameters, return_annotation=_shown_annotation(returns)))


class _Shown:
    """Stands in a signature for an object that must not be asked for its `repr`."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _annotations(function: Any) -> Any:
    """Without evaluating those that are evaluated late (PEP 649)."""
    if sys.version_info < (3, 14):
        return function.__annotations__
    import annotationlib  # type: ignore[import-not-found]

    return annotationlib.get_annotations(function, format=annotationlib.Format.STRING)


def _safe(parameter: Any) -> Any:
    default, annotation = parameter.default, _shown_annotation(parameter.annotation)
    if default is not inspect.Parameter.empty:
        default = _Shown(_clipped(_attempt(_preview, default, PREVIEW_CHARS) or "…", PREVIEW_CHARS))
    return parameter.replace(default=default, annotation=annotation)


def _shown_annotation(annotation: Any) -> Any:
    if annotation is inspect.Parameter.empty:
        return annotation
    if issubclass(type(annotation), type) and type(annotation) is not types.GenericAlias:
        return _Shown(_type_name(annotation))
    if issubclass(type(annotation), str):
        return _Shown(_text_or_none(annotation))
    if _module_of(type(annotation)) in ("typing", "types"):
        return _Shown(_clipped(str(annotation), PREVIEW_CHARS))
    return _Shown(_type_name(type(annotation)))


def _version_of(module: Any) -> Any:
    names = _dict_of_module(module)
    version = _text_or_none(names.get("__version__"))
    if version is None:
        from importlib import metadata

        try:
            version = metadata.version(names["__name__"].partition(".")[0])
        except Exception:
            return None
    return version
