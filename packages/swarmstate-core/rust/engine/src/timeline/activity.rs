//! What goes on in a run, and what its time counts as.

use std::sync::Arc;

/// What time counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The run itself, between all else.
    Framework,
    /// A node.
    Node,
    /// Encoding for a store.
    Encode,
    /// Decoding what a store holds.
    Decode,
    /// A round trip to a store.
    StoreIo,
    /// Nothing.
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

    /// What it is called.
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

    /// The kind that is called so.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// What an activity is called, and before it what it was part of.
pub type Path = Vec<String>;

/// Something that went on; another one is another activity, whatever it is called.
#[derive(Debug)]
pub struct Activity {
    pub(super) parent: Option<Arc<Activity>>,
    pub(super) kind: Kind,
    name: String,
}

impl Activity {
    /// A run, which everything in it is part of.
    pub fn run() -> Arc<Self> {
        Arc::new(Self {
            parent: None,
            kind: Kind::Framework,
            name: String::new(),
        })
    }

    /// An activity that is part of this one.
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

    /// Where the time counts that is of none of its parts.
    pub(super) fn own_path(&self) -> Path {
        let mut path = self.path();
        // What is called what it is needs no part of that name.
        if self.kind != Kind::Node && self.name != self.kind.name() {
            path.push(self.kind.name().to_owned());
        }
        path
    }
}
