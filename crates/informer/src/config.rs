//! What can be set, with its defaults and their reasons. Plain values; nothing here acts.

use std::time::Duration;

use crate::backoff::BackoffConfig;
use crate::decode::DecoderConfig;
use crate::delta_fifo::FifoLimits;
use crate::explain::ExplainConfig;
use crate::frame::FrameLimits;
use crate::metrics::MetricsConfig;

/// How long each wait on the server may take. There is no wait without one of these: HTTP/1.1 has no keep-alive of its
/// own, so silence is the only sign of a peer that is gone. The end mark of a streaming list and the store's catching up are
/// waited for as [`ReflectorConfig`] says; the body of a refusal for 5 s at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadlines {
    /// From sending a list to its headers. Default 60 s, the server's own limit for such requests.
    pub list_answer: Duration,
    /// Between two pieces of a list's body. Default 30 s.
    pub list_silence: Duration,
    /// For the whole body of a list, or of a page of it, so that a line that creeps is no list for ever. Default 5 min, five
    /// times the server's own limit.
    pub list_whole: Duration,
    /// From sending a watch to its headers, which a server sends at once unless it queues the request. Default 30 s.
    pub watch_answer: Duration,
    /// Between two pieces of a watch's body. Default 3 min: bookmarks come about every minute. Where a server sends
    /// none, an idle kind costs one new watch in this time.
    pub watch_silence: Duration,
    /// A watch is over after its own `timeoutSeconds` and this, whatever comes. Default 10 s.
    pub watch_margin: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            list_answer: Duration::from_secs(60),
            list_silence: Duration::from_secs(30),
            list_whole: Duration::from_secs(300),
            watch_answer: Duration::from_secs(30),
            watch_silence: Duration::from_secs(180),
            watch_margin: Duration::from_secs(10),
        }
    }
}

/// How a reflector reads.
#[derive(Debug, Clone, PartialEq)]
pub struct ReflectorConfig {
    /// What logs call it, for example the scope's text.
    pub name: String,
    /// Seed of every random choice: watch timeouts, jitter. Default 0: give each informer of each process another one, or they
    /// retry in step (a `Connection` of the crate watchkeeper does).
    pub seed: u64,
    /// Begin with a streaming list (`sendInitialEvents`), falling back to paged lists. Default true.
    pub streaming_list: bool,
    /// Objects a page of a paged list. Default 500, as upstream.
    pub page_size: u32,
    /// `timeoutSeconds` of a watch is drawn from this range, in seconds, so that the watches of many clients don't end
    /// together. Default 300 to 600, as upstream; below the 30 minutes at which servers end a watch on their own.
    pub watch_timeout_seconds: std::ops::RangeInclusive<u32>,
    /// The longest silence before the bookmark that ends a streaming list. Default 30 s.
    pub initial_events_silence: Duration,
    /// Delays after failures.
    pub backoff: BackoffConfig,
    /// At least this much time between the openings of two requests of a kind, whatever happens. Default 1 s.
    pub pace: Duration,
    /// A watch that delivered nothing and ended before this counts as a failure, and a list within this of the last
    /// one is preceded by backoff. Default 30 s.
    pub suspicious: Duration,
    /// How long a relist waits for the consumer to catch up, so that it may ask what is already cached; after that it
    /// decodes everything. Also how long an audit waits for that, and for the headers of each page. Default 10 s.
    pub catch_up: Duration,
    /// Between two audits: a list of the version reached, compared with what is cached by identity alone, which finds what a
    /// watch has lost. Varied by a tenth, and never sooner than `suspicious` after the last; `None`: only on demand and on
    /// suspicion. Default 10 h.
    pub audit: Option<Duration>,
    /// Sizes accepted.
    pub limits: FrameLimits,
}

impl Default for ReflectorConfig {
    fn default() -> Self {
        Self {
            name: "reflector".to_owned(),
            seed: 0,
            streaming_list: true,
            page_size: 500,
            watch_timeout_seconds: 300..=600,
            initial_events_silence: Duration::from_secs(30),
            backoff: BackoffConfig::default(),
            pace: Duration::from_secs(1),
            suspicious: Duration::from_secs(30),
            catch_up: Duration::from_secs(10),
            audit: Some(Duration::from_secs(10 * 60 * 60)),
            limits: FrameLimits::default(),
        }
    }
}

/// Which of the deltas that wait for the store are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeltaOrder {
    /// Of each key what the store needs to know, once more than 1,024 wait: [`Coalescing`](crate::delta_fifo::Coalescing).
    #[default]
    Coalescing,
    /// All, as they came: [`Ordered`](crate::delta_fifo::Ordered). A list supersedes what waits here, too. The store and the
    /// sources hear of each; a handler that lags doesn't, its mailbox coalesces in any case.
    Ordered,
}

/// What can be set of an informer beyond its source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InformerConfig {
    /// Which of the deltas that wait for the store are kept. Default [`DeltaOrder::Coalescing`].
    pub order: DeltaOrder,
    /// How many of them may wait, and how many bytes, before the watch isn't read on. Default 100,000 and 64 MiB.
    pub fifo: FifoLimits,
    /// How many bytes the cache should hold at most, see [`StoreWriter::with_bytes_budget`](crate::StoreWriter::with_bytes_budget). It is
    /// never enforced, only told of. Default none.
    pub bytes_budget: Option<u64>,
    /// What is kept of an object.
    pub decoder: DecoderConfig,
    /// How it is read.
    pub reflector: ReflectorConfig,
    /// Where its measures go, see [`crate::metrics`]. Default none, which costs next to nothing.
    pub metrics: Option<MetricsConfig>,
    /// Of which objects it is kept what happened to them, see [`crate::explain`]. Default none, which costs next to nothing.
    pub explain: Option<ExplainConfig>,
}
