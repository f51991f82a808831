//! Whether each of upstream's tests is here, or is said not to be.

const FILES: [&str; 12] = [
    include_str!("backoff.rs"),
    include_str!("consistency.rs"),
    include_str!("controller.rs"),
    include_str!("delta_fifo.rs"),
    include_str!("pager.rs"),
    include_str!("real_fifo.rs"),
    include_str!("reflector.rs"),
    include_str!("relist.rs"),
    include_str!("shared_informer.rs"),
    include_str!("store.rs"),
    include_str!("waiting.rs"),
    include_str!("watch_list.rs"),
];

const HEAD: &str = include_str!("main.rs");

/// client-go 1.36. Behind a slash is a case that is a test of its own.
const UPSTREAM: &[&str] = &[
    // tools/cache, reflector_test.go
    "TestCloseWatchChannelOnError",
    "TestRunUntil",
    "TestReflectorResyncChan",
    "TestReflectorWatchStoppedBefore",
    "TestReflectorWatchStoppedAfter",
    "TestReflectorHandleWatchStoppedBefore",
    "TestReflectorHandleWatchStoppedAfter",
    "TestReflectorHandleWatchResultChanClosedBefore",
    "TestReflectorHandleWatchResultChanClosedAfter",
    "TestReflectorWatchHandler",
    "TestReflectorStopWatch",
    "TestReflectorListAndWatch/UseWatchList enabled",
    "TestReflectorListAndWatch/UseWatchList disabled",
    "TestReflectorListAndWatchWithErrors",
    "TestReflectorListAndWatchInitConnBackoff",
    "TestNewReflectorWithCustomBackoff",
    "TestBackoffOnTooManyRequests",
    "TestNoRelistOnTooManyRequests",
    "TestRetryInternalError",
    "TestReflectorResync",
    "TestReflectorWatchListPageSize",
    "TestReflectorNotPaginatingNotConsistentReads",
    "TestReflectorPaginatingNonConsistentReadsIfWatchCacheDisabled",
    "TestReflectorResyncWithResourceVersion",
    "TestReflectorExpiredExactResourceVersion",
    "TestReflectorFullListIfExpired",
    "TestReflectorFullListIfTooLarge",
    "TestGetTypeDescriptionFromObject",
    "TestGetExpectedGVKFromObject",
    "TestWatchTimeout",
    "TestReflectorResourceVersionUpdate",
    "TestReflectorListExtract",
    "TestReflectorReplacesStoreOnUnsafeDelete",
    "TestReflectorRespectStoreTransformer",
    "TestIsUnsupportedTableObject",
    // tools/cache, reflector_watchlist_test.go and its neighbours
    "TestNewReflectorWithDisablementWatchList",
    "TestInitialEventsEndBookmarkTicker",
    "TestWatchListResourceVersion",
    "TestWatchList/won't be synced without bookmark",
    "TestWatchList/old semantics when off",
    "TestWatchList/any other error forces fallback",
    "TestWatchList/server does not support streaming (Invalid)",
    "TestWatchList/synced after bookmark",
    "TestWatchList/updates and deletes during streaming",
    "TestWatchList/retries 429",
    "TestWatchList/stop before sync",
    "TestWatchList/stop after sync",
    "TestWatchList/expired established watch",
    "TestWatchList/annotation value checked",
    "TestReflectorDataConsistencyDetector",
    "TestDoesClientNotSupportWatchListSemantics",
    "TestPrepareWatchListOptionsFromListOptions",
    "TestDataConsistencyChecker",
    "TestDataConsistencyCheckerRetry",
    "TestToListWatcherWithWatchListSemantics",
    "TestRetryWithDeadline",
    // tools/pager
    "TestListPager_List",
    "TestListPager_EachListItem",
    "TestListPager_eachListPageBuffered",
    // tools/cache, delta_fifo_test.go
    "TestDeltaFIFO_basic",
    "TestDeltaFIFO_replaceWithDeleteDeltaIn",
    "TestDeltaFIFOW_ReplaceMakesDeletionsForObjectsOnlyInQueue",
    "TestDeltaFIFO_addUpdate",
    "TestDeltaFIFO_transformer",
    "TestDeltaFIFO_enqueueingNoLister",
    "TestDeltaFIFO_enqueueingWithLister",
    "TestDeltaFIFO_addReplace",
    "TestDeltaFIFO_ResyncNonExisting",
    "TestDeltaFIFO_Resync",
    "TestDeltaFIFO_DeleteExistingNonPropagated",
    "TestDeltaFIFO_ReplaceMakesDeletions",
    "TestDeltaFIFO_ReplaceMakesDeletionsReplaced",
    "TestDeltaFIFO_ReplaceDeltaType",
    "TestDeltaFIFO_UpdateResyncRace",
    "TestDeltaFIFO_HasSyncedCorrectOnDeletion",
    "TestDeltaFIFO_detectLineJumpers",
    "TestDeltaFIFO_KeyOf",
    "TestDeltaFIFO_HasSynced",
    "TestDeltaFIFO_PopShouldUnblockWhenClosed",
    // tools/cache, the_real_fifo_test.go
    "TestRealFIFO_basic",
    "TestRealFIFO_replaceWithDeleteDeltaIn",
    "TestRealFIFOW_ReplaceMakesDeletionsForObjectsOnlyInQueue",
    "TestRealFIFO_addUpdate",
    "TestRealFIFO_transformer",
    "TestRealFIFO_enqueueingNoLister",
    "TestRealFIFO_enqueueingWithLister",
    "TestRealFIFO_addReplace",
    "TestRealFIFO_ResyncNonExisting",
    "TestRealFIFO_Resync",
    "TestRealFIFO_DeleteExistingNonPropagated",
    "TestRealFIFO_ReplaceMakesDeletions",
    "TestRealFIFO_ReplaceMakesDeletionsReplaced",
    "TestRealFIFO_UpdateResyncRace",
    "TestRealFIFO_HasSyncedCorrectOnDeletion",
    "TestRealFIFO_detectLineJumpers",
    "TestRealFIFO_KeyOf",
    "TestRealFIFO_HasSynced",
    "TestRealFIFO_PopShouldUnblockWhenClosed",
    "TestRealFIFO_PopMultipleDeltaInBatch",
    "TestRealFIFO_PopBrokenItemsInBatch",
    "TestRealFIFO_ReplaceAtomic",
    "TestRealFIFO_ReplaceAtomicPop",
    "TestRealFIFO_ResyncAtomic",
    // tools/cache, fifo_test.go, heap_test.go, undelta_store_test.go
    "TestFIFO_basic",
    "TestFIFO_addUpdate",
    "TestFIFO_addReplace",
    "TestFIFO_detectLineJumpers",
    "TestFIFO_HasSynced",
    "TestFIFO_PopShouldUnblockWhenClosed",
    "TestHeapBasic",
    "TestHeap_Add",
    "TestHeap_BulkAdd",
    "TestHeapEmptyPop",
    "TestHeap_AddIfNotPresent",
    "TestHeap_Delete",
    "TestHeap_Update",
    "TestHeap_Get",
    "TestHeap_GetByKey",
    "TestHeap_List",
    "TestHeap_ListKeys",
    "TestHeap_Close",
    "TestHeapAddAfterClose",
    "TestUpdateCallsPush",
    "TestDeleteCallsPush",
    "TestReplaceCallsPush",
    "TestReadsDoNotCallPush",
    // tools/cache, controller_test.go
    "Example",
    "ExampleNewInformer",
    "TestHammerController",
    "TestUpdate",
    "TestPanicPropagated",
    "TestTransformingInformer",
    "TestTransformingInformerRace",
    "TestDeletionHandlingObjectToName",
    "TestDeletedObjectGetObjectName",
    "TestDeletedObjectGetKey",
    "TestProcessDeltasInBatch",
    "TestReplaceEvents",
    "TestResetWatch",
    "TestStoreResourceVersion",
    "TestStoreResourceVersionWithNonMetaTransform",
    // tools/cache, the tests of handlers and of waiting beside it
    "TestNameForHandler",
    "TestTypedResourceEventHandlerFuncs",
    "TestTypedResourceEventHandlerDetailedFuncs",
    "TestTypedFilteringResourceEventHandler",
    "TestTypedResourceEventHandlerAdapter",
    "TestWaitFor",
    "TestSyncResult",
    "TestBasicLogic",
    "TestAsyncLocking",
    "TestSingleFileCounting",
    "TestSingleFile",
    "TestLazy",
    "TestLazyThroughput",
    "TestLazySlowEval",
    "TestLazySlowEval2",
    "TestLazyOnlyOnce",
    "TestLazyError",
    // tools/cache, the store and its indexes
    "TestCache",
    "TestFIFOCache",
    "TestUndeltaStore",
    "TestCacheWithTransformer",
    "TestIndex",
    "TestKeyError",
    "TestCacheTransactionShouldIndexErrors",
    "TestWithStoreMetricsDefaulting",
    "TestGetIndexFuncValues",
    "TestMultiIndexKeys",
    "TestThreadSafeStoreDeleteRemovesEmptySetsFromIndex",
    "TestThreadSafeStoreAddKeepsNonEmptySetPostDeleteFromIndex",
    "TestThreadSafeStoreIndexingFunctionsWithMultipleValues",
    "TestThreadSafeStoreRV",
    "TestListAll",
    // tools/cache, what is built around a store, and names
    "TestTTLExpirationBasic",
    "TestReAddExpiredItem",
    "TestTTLList",
    "TestTTLPolicy",
    "TestMutationCacheOnAddOrUpdate",
    "TestMutationCacheOnDelete",
    "TestMutationCacheUpdateConcurrentDelete",
    "TestMutationCacheUpdateConcurrentRecreate",
    "TestMutationCacheOnDeleteClearsStaleMutation",
    "TestMutationDetector",
    "TestObjectNames",
    "TestNewInformerName",
    "TestWithResource",
    "TestRelease",
    "TestTypedIndexer",
    "TestTypedIndexersToIndexers",
    "TestTypedSharedIndexInformerAddTypedIndexers",
    "TestTypedSharedIndexInformerGetTypedIndexer",
    "TestTypedSharedIndexInformerAddTypedEventHandler",
    "TestRCNumber",
    // tools/cache, shared_informer_test.go
    "TestIndexer",
    "TestListenerResyncPeriods",
    "TestListenerResyncPeriodsDelayed",
    "TestResyncCheckPeriod",
    "TestSharedInformerInitializationRace",
    "TestSharedInformerWatchDisruption",
    "TestSharedInformerErrorHandling",
    "TestSharedInformerStartRace",
    "TestSharedInformerTransformer",
    "TestSharedInformerRemoveHandler",
    "TestSharedInformerRemoveForeignHandler",
    "TestSharedInformerMultipleRegistration",
    "TestRemovingRemovedSharedInformer",
    "TestSharedInformerHandlerAbuse",
    "TestStateSharedInformer",
    "TestAddOnStoppedSharedInformer",
    "TestRemoveOnStoppedSharedInformer",
    "TestRemoveWhileActive",
    "TestAddWhileActive",
    "TestShutdown",
    "TestEventPanics",
    "TestRemoveEventHandler_AsynchronousPanic",
    "TestRemoveEventHandler_SynchronousShutdown",
    "TestShutDownEventHandler_Lifecycles",
];

/// `TestDeltaFIFO_addUpdate` is `delta_fifo_add_update`.
fn snake_case(upstream: &str) -> String {
    let name: Vec<char> = upstream.trim_start_matches("Test").chars().collect();
    let mut snake = String::new();
    for (position, &letter) in name.iter().enumerate() {
        let before = position.checked_sub(1).map(|before| name[before]);
        let begins_word = letter.is_uppercase()
            && before.is_some_and(|before| {
                let next_is_lower = name.get(position + 1).is_some_and(|next| next.is_lowercase());
                before.is_lowercase() || before.is_ascii_digit() || (before.is_uppercase() && next_is_lower)
            });
        match letter {
            ' ' | '/' | '_' => snake.push('_'),
            _ if letter.is_alphanumeric() => {
                snake.extend(begins_word.then_some('_'));
                snake.extend(letter.to_lowercase());
            }
            _ => {}
        }
    }
    snake
}

/// The functions of a file that are tests.
fn tests(file: &str) -> impl Iterator<Item = &str> {
    file.split("\n\n").filter_map(|item| {
        let (_, declared) = item.split_once("#[test]\n").or_else(|| item.split_once("#[tokio::test("))?;
        let (_, name) = declared.split_once("fn ")?;
        name.split('(').next()
    })
}

/// Goal: each of upstream's tests is one test here or has one reason, not both; and there are no others, and no reasons for what
/// isn't upstream's.
#[test]
fn every_name_is_a_test_or_has_a_reason() {
    let here: Vec<_> = FILES.into_iter().flat_map(tests).collect();
    let mut expected = Vec::new();
    let mut reasons = 0;
    for name in UPSTREAM {
        match HEAD.matches(&format!("`{name}`")).count() {
            0 => expected.push(snake_case(name)),
            1 => reasons += 1,
            times => panic!("{name} has {times} reasons"),
        }
    }
    for name in &expected {
        assert_eq!(here.iter().filter(|test| *test == name).count(), 1, "{name} is neither a test nor given a reason");
    }
    assert_eq!(here.len(), expected.len(), "a test that isn't in the list");
    assert_eq!(HEAD.matches("`Test").count(), reasons, "a reason for a name that isn't in the list");
    assert_eq!(expected.len() + reasons, UPSTREAM.len());
}
