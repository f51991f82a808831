//! client-go's own tests of its reflector, its pager, its queues of deltas, its controller, its shared informer, its store and its waiting for several, as tests of these: each has upstream's name in
//! snake case, and says where what holds here is another thing on purpose. What a test of another file covers at greater
//! length is here once more, short, so that the list is complete; `complete` sees to that.
//!
//! What isn't here, and why:
//!
//! - `TestReflectorResyncChan`, `TestReflectorResync`, `TestDeltaFIFO_ResyncNonExisting`, `TestDeltaFIFO_Resync`,
//!   `TestDeltaFIFO_UpdateResyncRace`, `TestRealFIFO_ResyncNonExisting`, `TestRealFIFO_Resync`,
//!   `TestRealFIFO_UpdateResyncRace`, `TestRealFIFO_ResyncAtomic`: a resync is no business of the reflector or the queue: a
//!   mailbox tells its own handler again what that has been told, which `listener_resync_periods` tests.
//! - `TestGetTypeDescriptionFromObject`, `TestGetExpectedGVKFromObject`: upstream reads from an example object what it is to
//!   call its kind, and which kind to expect. Here the kind is a value of the scope, the name in logs is configured, and what
//!   isn't of the kind can't be decoded, which `reflector::reflector_watch_handler` tests.
//! - `TestDoesClientNotSupportWatchListSemantics`, `TestToListWatcherWithWatchListSemantics`: upstream's clients carry a mark
//!   that says that they (fakes, most of them) don't know streaming lists. Here the server's refusal says it.
//! - `TestPrepareWatchListOptionsFromListOptions`: turns any list into a streaming one, if its version, rule, limit and token
//!   allow. No caller's list is turned into another here: a streaming list has no options, and begins at the newest version.
//! - `TestRetryWithDeadline`: a window within which an internal error is tried again from the same version. There is none: the
//!   table of `recovery` says what follows an error, and the backoff when; `backoff::retry_internal_error` tests that.
//! - `TestDeltaFIFO_KeyOf`, `TestRealFIFO_KeyOf`: what lies in upstream's queues is an object, a list of deltas or a tombstone,
//!   each with a key to be found in another way. Types tell them apart here, and every one of them holds an object or its key.
//! - `TestRealFIFO_PopBrokenItemsInBatch`: no key function can fail: what doesn't say who it is never reaches the queue.
//! - `TestFIFOCache`, `TestFIFO_basic`, `TestFIFO_addUpdate`, `TestFIFO_addReplace`, `TestFIFO_detectLineJumpers`, `TestFIFO_HasSynced`,
//!   `TestFIFO_PopShouldUnblockWhenClosed`: a third queue, which keeps the newest state of a key without its end. Nothing here
//!   could use it; its order and its end are those of the coalescing queue, in `delta_fifo`.
//! - `TestHeapBasic`, `TestHeap_Add`, `TestHeap_BulkAdd`, `TestHeapEmptyPop`, `TestHeap_AddIfNotPresent`, `TestHeap_Delete`,
//!   `TestHeap_Update`, `TestHeap_Get`, `TestHeap_GetByKey`, `TestHeap_List`, `TestHeap_ListKeys`, `TestHeap_Close`,
//!   `TestHeapAddAfterClose`: nothing in an informer is ordered by anything but arrival. Delays and priorities are the work
//!   queue's.
//! - `TestUndeltaStore`, `TestUpdateCallsPush`, `TestDeleteCallsPush`, `TestReplaceCallsPush`, `TestReadsDoNotCallPush`: a store that hands all of
//!   itself to a function at each write. A handler is told of each change instead, and can list the store.
//! - `TestCacheWithTransformer`, `TestTransformingInformer`, `TestTransformingInformerRace`: a transform is the last step of decoding, which each state
//!   passes once; `shared_informer::shared_informer_transformer` tests both, with resyncs.
//! - `TestDeletionHandlingObjectToName`, `TestDeletedObjectGetObjectName`, `TestDeletedObjectGetKey`: upstream hands either an
//!   object or a tombstone, with or without one, to whoever hears of an end. Here an end always has the last state known.
//! - `TestProcessDeltasInBatch`, `TestCacheTransactionShouldIndexErrors`: a store that fails for some objects of a batch. This one can't fail.
//! - `TestStoreResourceVersionWithNonMetaTransform`: what has no metadata can't be cached here.
//! - `TestBasicLogic`, `TestAsyncLocking`, `TestSingleFileCounting`, `TestSingleFile`: a counter of what the first snapshot has left, per key. The place of a key in
//!   its mailbox says it here, which `a_handler_hears_every_life_in_order` tests.
//! - `TestResyncCheckPeriod`: one period of the informer, of which those of its handlers are made multiples. There is none:
//!   each handler has its own, which `shared_informer::listener_resync_periods` tests.
//! - `TestSharedInformerStartRace`: setters that may come while the informer starts. Setting up ends where `run` begins, which
//!   consumes what is set up.
//! - `TestLazy`, `TestLazyThroughput`, `TestLazySlowEval`, `TestLazySlowEval2`, `TestLazyOnlyOnce`, `TestLazyError`: a value that is
//!   computed when it is asked for, once a notification, since upstream's synced of many is a function of many. Here whoever
//!   makes progress writes it down, and who asks reads it.
//! - `TestKeyError`: no key function can fail: what doesn't say who it is isn't decoded, which `undecodable_objects` tests.
//! - `TestWithStoreMetricsDefaulting`: a store is handed no provider of metrics that could be missing.
//! - `TestTTLExpirationBasic`, `TestReAddExpiredItem`, `TestTTLList`, `TestTTLPolicy`: a store whose objects expire. What is cached
//!   here is what the server has; nothing of it goes by the time.
//! - `TestMutationCacheOnAddOrUpdate`, `TestMutationCacheOnDelete`, `TestMutationCacheUpdateConcurrentDelete`,
//!   `TestMutationCacheUpdateConcurrentRecreate`, `TestMutationCacheOnDeleteClearsStaleMutation`: an overlay of own writes over the
//!   cache. There is none: who has written waits for the version, which `lives_and_own_writes` tests.
//! - `TestMutationDetector`: finds at run time that a handler has changed what is cached. It is handed an `Arc`: that doesn't
//!   compile.
//! - `TestNewInformerName`, `TestWithResource`, `TestRelease`: names that are reserved, since informers of one name would write to one
//!   measure. Here each is handed a sink of its own, with labels that the application has chosen: nothing has to be reserved, so
//!   nothing is refused, switched off or released.
//! - `TestTypedIndexer`, `TestTypedIndexersToIndexers`, `TestTypedSharedIndexInformerAddTypedIndexers`,
//!   `TestTypedSharedIndexInformerGetTypedIndexer`, `TestTypedSharedIndexInformerAddTypedEventHandler`: that a typed wrapper says what
//!   the untyped one does. There is nothing untyped here.
//! - `TestRCNumber`: upstream's fake of a server, which gives each change a number. The embedded server's own tests have it:
//!   `a_watch_from_a_version_shows_what_came_after`.
//! - `TestSharedInformerRemoveForeignHandler`: a handle given to the wrong informer. A registration ends itself.
#![allow(clippy::disallowed_methods, clippy::panic)]

mod backoff;
mod complete;
mod consistency;
mod controller;
mod delta_fifo;
#[path = "../handlers/rig.rs"]
mod informer_rig;
mod pager;
mod pipe;
mod real_fifo;
mod reflector;
mod relist;
mod rig;
mod shared_informer;
mod store;
mod waiting;
mod watch_list;
