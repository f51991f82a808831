//! The loads of `readers`: how many of them there are, and what each does over and over.
//!
//! In: a name from the command line. Out: the load.

/// What one read is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// One object at random.
    Get,
    /// One namespace at random, each object of it looked at.
    List,
    /// Everything, each object looked at.
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) readers: usize,
    pub(crate) read: Read,
}

pub(crate) const LOADS: [Load; 8] = [
    Load { name: "none", readers: 0, read: Read::Get },
    Load { name: "1-get", readers: 1, read: Read::Get },
    Load { name: "8-get", readers: 8, read: Read::Get },
    Load { name: "1-list", readers: 1, read: Read::List },
    Load { name: "2-list", readers: 2, read: Read::List },
    Load { name: "8-list", readers: 8, read: Read::List },
    Load { name: "1-all", readers: 1, read: Read::All },
    Load { name: "8-all", readers: 8, read: Read::All },
];

impl Load {
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let names: Vec<&str> = LOADS.iter().map(|load| load.name).collect();
        LOADS.into_iter().find(|load| load.name == name).ok_or_else(|| format!("there are {}", names.join(", ")))
    }
}
