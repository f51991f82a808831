//! The phases of an informer in which a fault strikes, and the sizes of what it caches.
//!
//! Comes in: nothing. Goes out: names, and how the informer is set up so that it comes through the phase.

use watchkeeper_apiserver::fault::Verb;
use watchkeeper_informer::ReflectorConfig;
use watchkeeper_informer::frame::FrameLimits;

use crate::wire::Whose;

/// Objects at the start.
pub(crate) const SIZES: [usize; 3] = [0, 10, 10_000];

/// Pages of a paged list.
const PAGES: usize = 4;

/// Bytes of an object that are accepted; the oversize one has more.
pub(crate) const ITEM_LIMIT: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    FirstList,
    PagedList,
    InitialEvents,
    SteadyWatch,
    Reconnect,
    Shutdown,
}

impl Phase {
    pub(crate) const ALL: [Self; 6] =
        [Self::FirstList, Self::PagedList, Self::InitialEvents, Self::SteadyWatch, Self::Reconnect, Self::Shutdown];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FirstList => "first list",
            Self::PagedList => "paged list",
            Self::InitialEvents => "initial events",
            Self::SteadyWatch => "steady watch",
            Self::Reconnect => "reconnect",
            Self::Shutdown => "shutdown",
        }
    }

    /// Where a fault strikes; at shutdown, where it is active while the informer is told to stop.
    pub(crate) fn place(self, at_shutdown: Place) -> Place {
        match self {
            Self::FirstList => Place::List,
            Self::PagedList => Place::Page,
            Self::InitialEvents => Place::Initial,
            Self::SteadyWatch => Place::Running,
            Self::Reconnect => Place::Opening,
            Self::Shutdown => at_shutdown,
        }
    }
}

/// Whose request, or answer, a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The one page of a list.
    List,
    /// A page behind the first.
    Page,
    /// A streaming list.
    Initial,
    /// A watch that has delivered.
    Running,
    /// A watch that is opened after one that has ended.
    Opening,
}

impl Place {
    /// Whether the informer meets it before it is synced.
    pub(crate) fn is_early(self) -> bool {
        matches!(self, Self::List | Self::Page | Self::Initial)
    }

    pub(crate) fn verb(self) -> Verb {
        if matches!(self, Self::List | Self::Page) { Verb::List } else { Verb::Watch }
    }

    /// Requests of that verb that are let through first.
    pub(crate) fn skip(self) -> u64 {
        u64::from(self == Self::Page)
    }

    pub(crate) fn whose(self) -> Whose {
        match self {
            Self::List => Whose::Lists,
            Self::Page => Whose::ContinuedLists,
            _ => Whose::Watches,
        }
    }

    pub(crate) fn config(self, size: usize) -> ReflectorConfig {
        let page_size = if self == Self::Page { size.div_ceil(PAGES) } else { 2 * SIZES[2] };
        ReflectorConfig {
            streaming_list: self == Self::Initial,
            page_size: u32::try_from(page_size).expect("a small number"),
            limits: FrameLimits { item: ITEM_LIMIT, ..FrameLimits::default() },
            ..ReflectorConfig::default()
        }
    }
}
