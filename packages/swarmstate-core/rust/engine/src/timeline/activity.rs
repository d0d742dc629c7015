//! The activities of a run, and the kinds that their time counts as.

use std::sync::Arc;

/// What kind of work time counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The run itself, between its activities.
    Framework,
    /// A node.
    Node,
    /// Encoding for a store.
    Encode,
    /// Decoding from a store.
    Decode,
    /// A round trip to a store.
    StoreIo,
    /// Nothing happens.
    Waiting,
}

impl Kind {
    pub(super) const ALL: [Self; 6] = [
        Self::Framework,
        Self::Node,
        Self::Encode,
        Self::Decode,
        Self::StoreIo,
        Self::Waiting,
    ];

    /// Returns the name of the kind.
    pub fn name(self) -> &'static str {
        match self {
            Self::Framework => "framework",
            Self::Node => "node",
            Self::Encode => "encode",
            Self::Decode => "decode",
            Self::StoreIo => "store I/O",
            Self::Waiting => "waiting",
        }
    }

    /// Returns the kind with a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The name of an activity, preceded by those of the activities it is part of.
pub type Path = Vec<String>;

/// Something that happens in a run. Activities are distinct even if they have the same name.
#[derive(Debug)]
pub struct Activity {
    pub(super) parent: Option<Arc<Activity>>,
    pub(super) kind: Kind,
    name: String,
}

impl Activity {
    /// Returns a run, the root of all its activities.
    pub fn run() -> Arc<Self> {
        Arc::new(Self {
            parent: None,
            kind: Kind::Framework,
            name: String::new(),
        })
    }

    /// Returns an activity that is part of this one.
    pub fn part(self: &Arc<Self>, kind: Kind, name: String) -> Arc<Self> {
        Arc::new(Self {
            parent: Some(Arc::clone(self)),
            kind,
            name,
        })
    }

    fn path(&self) -> Path {
        let Some(parent) = &self.parent else {
            return Path::new();
        };
        let mut path = parent.path();
        path.push(self.name.clone());
        path
    }

    /// Returns the path for time that belongs to none of the activity's parts.
    pub(super) fn own_path(&self) -> Path {
        let mut path = self.path();
        // An activity named after its kind does not repeat it.
        if self.kind != Kind::Node && self.name != self.kind.name() {
            path.push(self.kind.name().to_owned());
        }
        path
    }
}
