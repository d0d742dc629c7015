//! The standard library types that the codec knows.

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// A final standard type, recognized by identity: it has none of the hooks that user classes are
/// searched for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    ByteArray,
    Complex,
    Counter,
    Date,
    DateTime,
    Decimal,
    DefaultDict,
    Deque,
    Fraction,
    IpAddress,
    MemoryView,
    OrderedDict,
    Path,
    Pattern,
    PurePosixPath,
    PureWindowsPath,
    Range,
    Set,
    Time,
    TimeDelta,
    TimeZone,
    Uuid,
    ZoneInfo,
}

/// A standard type, with its name in messages.
pub struct Known {
    pub kind: Kind,
    pub module: String,
    pub name: String,
}

/// All known types; built once, when a value first needs it.
pub struct Standard {
    by_type: HashMap<usize, Known>,
    by_name: HashMap<String, HashMap<String, Py<PyAny>>>,
    /// Base classes that user classes may derive from.
    pub path: Py<PyAny>,
    pub pattern: Py<PyAny>,
    pub uuid: Py<PyAny>,
    pub decimal: Py<PyAny>,
    pub sets: Py<PyAny>,
    pub deque: Py<PyAny>,
    pub addresses: Py<PyAny>,
    /// Types whose iteration can yield more items than their bytes held.
    pub endless: Py<PyAny>,
    /// Types that iterate over their constructor's argument.
    pub containers: Py<PyAny>,
    pub datetime: Py<PyAny>,
    pub timedelta: Py<PyAny>,
    pub date: Py<PyAny>,
    pub time: Py<PyAny>,
    pub zone_info: Py<PyAny>,
    pub enumeration: Py<PyAny>,
    pub exception: Py<PyAny>,
    /// Constructors for our own ext codes.
    pub fraction: Py<PyAny>,
    pub counter: Py<PyAny>,
    pub ordered_dict: Py<PyAny>,
    pub default_dict: Py<PyAny>,
    pub pure_posix_path: Py<PyAny>,
    pub pure_windows_path: Py<PyAny>,
    pub range: Py<PyAny>,
}

const TYPES: &[(Kind, &str, &str)] = &[
    (Kind::ByteArray, "builtins", "bytearray"),
    (Kind::Complex, "builtins", "complex"),
    (Kind::MemoryView, "builtins", "memoryview"),
    (Kind::Range, "builtins", "range"),
    (Kind::Set, "builtins", "set"),
    (Kind::Set, "builtins", "frozenset"),
    (Kind::Counter, "collections", "Counter"),
    (Kind::OrderedDict, "collections", "OrderedDict"),
    (Kind::DefaultDict, "collections", "defaultdict"),
    (Kind::Deque, "collections", "deque"),
    (Kind::Date, "datetime", "date"),
    (Kind::DateTime, "datetime", "datetime"),
    (Kind::Time, "datetime", "time"),
    (Kind::TimeDelta, "datetime", "timedelta"),
    (Kind::TimeZone, "datetime", "timezone"),
    (Kind::Decimal, "decimal", "Decimal"),
    (Kind::Fraction, "fractions", "Fraction"),
    (Kind::IpAddress, "ipaddress", "IPv4Address"),
    (Kind::IpAddress, "ipaddress", "IPv4Interface"),
    (Kind::IpAddress, "ipaddress", "IPv4Network"),
    (Kind::IpAddress, "ipaddress", "IPv6Address"),
    (Kind::IpAddress, "ipaddress", "IPv6Interface"),
    (Kind::IpAddress, "ipaddress", "IPv6Network"),
    (Kind::Path, "pathlib", "PosixPath"),
    (Kind::Path, "pathlib", "WindowsPath"),
    (Kind::PurePosixPath, "pathlib", "PurePosixPath"),
    (Kind::PureWindowsPath, "pathlib", "PureWindowsPath"),
    (Kind::Pattern, "re", "Pattern"),
    (Kind::Uuid, "uuid", "UUID"),
    (Kind::ZoneInfo, "zoneinfo", "ZoneInfo"),
];

/// The module of path classes in Python 3.13, and in no other version.
const PATHLIB_OF_3_13: &str = "pathlib._local";

static STANDARD: PyOnceLock<Standard> = PyOnceLock::new();

impl Standard {
    /// Return the table; the first call imports the modules of the types.
    pub fn get(py: Python<'_>) -> PyResult<&'static Self> {
        STANDARD.get_or_try_init(py, || Self::load(py))
    }

    fn load(py: Python<'_>) -> PyResult<Self> {
        let mut by_type = HashMap::new();
        let mut by_name: HashMap<String, HashMap<String, Py<PyAny>>> = HashMap::new();
        for &(kind, module, name) in TYPES {
            let class = py.import(module)?.getattr(name)?.cast_into::<PyType>()?;
            // LangGraph writes a class's own `__module__`.
            let own: String = class.getattr("__module__")?.extract()?;
            let elsewhere = (kind == Kind::Path).then_some(PATHLIB_OF_3_13);
            for module in [Some(module), Some(&own), elsewhere].into_iter().flatten() {
                by_name
                    .entry(module.to_owned())
                    .or_default()
                    .insert(name.to_owned(), class.clone().into_any().unbind());
            }
            let known = Known {
                kind,
                module: own,
                name: name.to_owned(),
            };
            by_type.insert(class.as_type_ptr() as usize, known);
        }
        let compile = py.import("re")?.getattr("compile")?.unbind();
        by_name
            .entry("re".to_owned())
            .or_default()
            .insert("compile".to_owned(), compile);

        let load = |module: &str, name: &str| -> PyResult<Py<PyAny>> {
            Ok(py.import(module)?.getattr(name)?.unbind())
        };
        let union = |names: &[(&str, &str)]| -> PyResult<Py<PyAny>> {
            let classes = names.iter().map(|(module, name)| load(module, name));
            let classes = classes.collect::<PyResult<Vec<_>>>()?;
            Ok(pyo3::types::PyTuple::new(py, classes)?.into_any().unbind())
        };
        Ok(Self {
            by_type,
            by_name,
            path: load("pathlib", "Path")?,
            pattern: load("re", "Pattern")?,
            uuid: load("uuid", "UUID")?,
            decimal: load("decimal", "Decimal")?,
            sets: union(&[("builtins", "set"), ("builtins", "frozenset")])?,
            deque: load("collections", "deque")?,
            addresses: union(&[
                ("ipaddress", "IPv4Address"),
                ("ipaddress", "IPv4Interface"),
                ("ipaddress", "IPv4Network"),
                ("ipaddress", "IPv6Address"),
                ("ipaddress", "IPv6Interface"),
                ("ipaddress", "IPv6Network"),
            ])?,
            endless: union(&[
                ("builtins", "range"),
                ("ipaddress", "IPv4Network"),
                ("ipaddress", "IPv6Network"),
            ])?,
            containers: union(&[
                ("builtins", "dict"),
                ("builtins", "frozenset"),
                ("builtins", "set"),
                ("collections", "deque"),
            ])?,
            datetime: load("datetime", "datetime")?,
            timedelta: load("datetime", "timedelta")?,
            date: load("datetime", "date")?,
            time: load("datetime", "time")?,
            zone_info: load("zoneinfo", "ZoneInfo")?,
            enumeration: load("enum", "Enum")?,
            exception: load("builtins", "BaseException")?,
            fraction: load("fractions", "Fraction")?,
            counter: load("collections", "Counter")?,
            ordered_dict: load("collections", "OrderedDict")?,
            default_dict: load("collections", "defaultdict")?,
            pure_posix_path: load("pathlib", "PurePosixPath")?,
            pure_windows_path: load("pathlib", "PureWindowsPath")?,
            range: load("builtins", "range")?,
        })
    }

    /// Return the entry of exactly this type.
    pub fn by_type(&self, class: &Bound<'_, PyType>) -> Option<&Known> {
        self.by_type.get(&(class.as_type_ptr() as usize))
    }

    /// Return the standard type of this name, or `re.compile`.
    pub fn by_name(&self, module: &str, name: &str) -> Option<&Py<PyAny>> {
        self.by_name.get(module)?.get(name)
    }
}
