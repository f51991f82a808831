//! The operations whose allocations are counted, each over a number of Pods.
//!
//! In: how many Pods. Out: what was allocated between the first object and the last. Everything that is read is made before.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;
use kube_client::core::PartialObjectMeta;
use stats_alloc::Stats;
use tokio_util::sync::CancellationToken;
use watchkeeper::BoxError;
use watchkeeper_informer::decode::{Decoder, DecoderConfig, identity, watch_frame};
use watchkeeper_informer::delta_fifo::{Batch, Delta, Work};
use watchkeeper_informer::frame::WatchSplitter;
use watchkeeper_informer::scripted::{Answer, Piece, ScriptedListWatch};
use watchkeeper_informer::shape::{Lazy, Projected};
use watchkeeper_informer::{Cached, DeltaFifo, InformerConfig, ReflectorConfig, ResourceVersion, SharedInformer};

use crate::ALLOCATOR;
use crate::ingest::client::Placement;
use crate::ingest::source::json::{self, Form};
use crate::ingest::source::{FIRST_VERSION, VERSION, in_pieces};
use crate::pods;

const SEED: u64 = 5;
/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

type Counting = Pin<Box<dyn Future<Output = Result<Stats, BoxError>>>>;
type Operation = fn(usize) -> Counting;

/// All of them, by name.
pub(super) const OPERATIONS: [(&str, Operation); 6] = [
    // An item of a list becomes an object.
    ("decode_typed", |n| Box::pin(decode(n, Decoder::<Pod>::new(DecoderConfig::default())))),
    ("decode_metadata", |n| Box::pin(decode(n, Decoder::<PartialObjectMeta<Pod>>::metadata(DecoderConfig::default())))),
    ("decode_projected", |n| Box::pin(decode(n, Decoder::<Projected<Placement>>::projected()))),
    ("decode_lazy", |n| Box::pin(decode(n, Decoder::<Lazy<Pod>>::lazy()))),
    // The bytes of an event become a change that the store's writer has in its hands.
    ("event", |n| Box::pin(event(n))),
    // A list in which nothing has changed, from its bytes to the store and all who would be told.
    ("relist_unchanged", |n| Box::pin(relist(n))),
];

async fn decode<K: Cached>(n: usize, decoder: Decoder<K>) -> Result<Stats, BoxError> {
    let pods = pods::corpus(n, SEED, FIRST_VERSION);
    let before = ALLOCATOR.stats();
    for pod in &pods {
        let item = pod.item.as_bytes();
        decoder.object(item, &identity(item)?)?;
    }
    Ok(ALLOCATOR.stats() - before)
}

async fn event(n: usize) -> Result<Stats, BoxError> {
    let events: Vec<Vec<u8>> = pods::corpus(n, SEED, FIRST_VERSION).iter().map(json::modified).collect();
    let decoder = Decoder::<Pod>::new(DecoderConfig::default());
    let (mut splitter, fifo) = (WatchSplitter::new(ReflectorConfig::default().limits), DeltaFifo::new());
    let mut popped = 0;
    let before = ALLOCATOR.stats();
    for event in &events {
        splitter.push(event, |frame| {
            let object = watch_frame(frame)?.object;
            let identity = identity(object)?;
            let version = ResourceVersion::new(&identity.version);
            fifo.push(Delta::Applied(decoder.object(object, &identity)?), object.len(), version);
            Ok::<_, BoxError>(())
        })?;
        let Batch { work, receipt, .. } = fifo.pop().await.ok_or("the queue was closed")?;
        if let Work::Changes(changes) = work {
            popped += changes.len();
        }
        receipt.applied();
    }
    let counted = ALLOCATOR.stats() - before;
    if popped == n { Ok(counted) } else { Err(format!("{popped} changes of {n} events").into()) }
}

/// A whole informer: it lists, its watch expires, it lists the same again.
async fn relist(n: usize) -> Result<Stats, BoxError> {
    let list = String::from_utf8(json::list(&pods::corpus(n, SEED, FIRST_VERSION), Form::Whole, None))?;
    let again = list.replacen(&VERSION.to_string(), &(VERSION + 1).to_string(), 1);
    let body = |list: String| Answer::pieces(in_pieces(Bytes::from(list)).map(Piece::Bytes));
    let script = ScriptedListWatch::new();
    let (watch, feed) = Answer::live();
    script.on_list(body(list)).on_list(body(again)).on_watch(watch).on_watch(Answer::hang());
    let reflector = ReflectorConfig {
        streaming_list: false,
        page_size: u32::MAX,
        pace: Duration::ZERO,
        suspicious: Duration::ZERO,
        ..ReflectorConfig::default()
    };
    let informer =
        SharedInformer::<Pod>::new(Arc::new(script.clone()), InformerConfig { reflector, ..InformerConfig::default() });
    let (handle, stop) = (informer.handle(), CancellationToken::new());
    let running = tokio::spawn(informer.run(stop.clone()));
    tokio::time::timeout(PATIENCE, handle.synced()).await??;
    let first = handle.lister().list();
    let before = ALLOCATOR.stats();
    feed.piece(Piece::Bytes(Bytes::from_static(json::EXPIRED)));
    let relisted = ResourceVersion::new(&(VERSION + 1).to_string());
    tokio::time::timeout(PATIENCE, handle.wait_for(&relisted)).await??;
    let counted = ALLOCATOR.stats() - before;
    let kept = handle.lister().list();
    stop.cancel();
    running.await?;
    // The very objects of the first list: nothing was decoded again.
    let same =
        first.len() == n && kept.len() == n && first.iter().all(|pod| kept.iter().any(|now| Arc::ptr_eq(pod, now)));
    if same { Ok(counted) } else { Err("the second list has changed the cache".into()) }
}
