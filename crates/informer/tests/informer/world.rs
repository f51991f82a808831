//! A server, a cable that can be pulled, an informer over ConfigMaps, and what was heard.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube_client::api::{DeleteParams, ListParams, PostParams};
use kube_client::{Api, Client};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use watchkeeper_apiserver::{ApiServer, Config};
use watchkeeper_informer::config::{Deadlines, InformerConfig};
use watchkeeper_informer::list_watch::{ByteStream, KubeListWatch, ListRequest, ListWatch, WatchRequest};
use watchkeeper_informer::request_error::RequestError;
use watchkeeper_informer::scope::Scope;
use watchkeeper_informer::{Event, Index, InformerHandle, ResourceVersion, SharedInformer};

/// A list-watch over a cable that can be pulled.
pub(crate) struct Cable {
    pub inner: KubeListWatch,
    pub plugged: watch::Sender<bool>,
}

impl Cable {
    fn check(&self) -> Result<(), RequestError> {
        if *self.plugged.borrow() { Ok(()) } else { Err(RequestError::Unreachable("the cable is pulled".to_owned())) }
    }

    fn through(&self, stream: ByteStream) -> ByteStream {
        let mut plugged = self.plugged.subscribe();
        let pulled = async move {
            let _ = plugged.wait_for(|plugged| !plugged).await;
        };
        stream.take_until(Box::pin(pulled)).boxed()
    }
}

#[async_trait]
impl ListWatch for Cable {
    async fn list(&self, request: &ListRequest) -> Result<ByteStream, RequestError> {
        self.check()?;
        Ok(self.through(self.inner.list(request).await?))
    }

    async fn watch(&self, request: &WatchRequest) -> Result<ByteStream, RequestError> {
        self.check()?;
        Ok(self.through(self.inner.watch(request).await?))
    }
}

/// A server, an informer over its ConfigMaps, and what a handler heard.
pub(crate) struct World {
    pub server: ApiServer,
    pub api: Api<ConfigMap>,
    pub cable: Arc<Cable>,
    pub handle: InformerHandle<ConfigMap>,
    pub by_color: Index<ConfigMap, String>,
    pub heard: Arc<Mutex<Vec<String>>>,
    pub sourced: Arc<Mutex<Vec<String>>>,
    pub shutdown: CancellationToken,
    pub run: JoinHandle<()>,
}

impl World {
    pub(crate) fn start(plugged: bool) -> Self {
        let server = ApiServer::new(Config::default());
        let client = Client::new(server.service("informer"), "default");
        let inner = KubeListWatch::new(client.clone(), Scope::all::<ConfigMap>(), Deadlines::default());
        let cable = Arc::new(Cable { inner, plugged: watch::Sender::new(plugged) });
        let mut informer = SharedInformer::new(Arc::clone(&cable) as Arc<dyn ListWatch>, InformerConfig::default());
        let by_color = informer.add_index("value", |map: &ConfigMap| {
            map.data.iter().flatten().map(|(_, v)| v.clone()).collect::<Vec<_>>()
        });
        let (heard, sourced) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        informer.add_source({
            let sourced = Arc::clone(&sourced);
            move |event| sourced.lock().push(text(event))
        });
        let handle = informer.handle();
        handle.add_handler({
            let heard = Arc::clone(&heard);
            move |event| heard.lock().push(text(&event))
        });
        let shutdown = CancellationToken::new();
        let run = tokio::spawn(informer.run(shutdown.clone()));
        let api = Api::namespaced(client, "default");
        Self { server, api, cable, handle, by_color, heard, sourced, shutdown, run }
    }

    pub(crate) async fn create(&self, name: &str, color: &str) -> ConfigMap {
        self.api.create(&PostParams::default(), &map(name, color)).await.expect("created")
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.api.delete(name, &DeleteParams::default()).await.expect("deleted");
    }

    pub(crate) async fn replace(&self, name: &str, color: &str) -> ConfigMap {
        self.api.replace(name, &PostParams::default(), &map(name, color)).await.expect("replaced")
    }

    /// Until the cache stands where the server stands, and everyone has been told.
    pub(crate) async fn settle(&self) {
        self.handle.catch_up().await.expect("the server answers");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// I2: the cache equals a fresh list.
    pub(crate) async fn assert_equal(&self) {
        let fresh = Api::<ConfigMap>::all(self.api.clone().into_client()).list(&ListParams::default()).await;
        let identify = |map: &ConfigMap| (map.metadata.name.clone(), map.metadata.uid.clone(), map.data.clone());
        let mut expected: Vec<_> = fresh.expect("listed").items.iter().map(identify).collect();
        let mut cached: Vec<_> = self.handle.lister().list().iter().map(|map| identify(map)).collect();
        expected.sort();
        cached.sort();
        assert_eq!(cached, expected);
    }

    pub(crate) fn heard(&self) -> Vec<String> {
        std::mem::take(&mut *self.heard.lock())
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.run.await.expect("run ends");
    }
}

pub(crate) fn map(name: &str, color: &str) -> ConfigMap {
    let mut map =
        ConfigMap { data: Some(BTreeMap::from([("color".to_owned(), color.to_owned())])), ..Default::default() };
    map.metadata.name = Some(name.to_owned());
    map
}

pub(crate) fn name(map: &ConfigMap) -> &str {
    map.metadata.name.as_deref().unwrap_or_default()
}

pub(crate) fn text(event: &Event<ConfigMap>) -> String {
    match event {
        Event::Added { object, initial: true } => format!("initial {}", name(object)),
        Event::Added { object, .. } => format!("added {}", name(object)),
        Event::Updated { new, .. } => format!("updated {}", name(new)),
        Event::Deleted { last, finality } => format!("deleted {} {finality:?}", name(last)),
        Event::Resync { object } => format!("resync {}", name(object)),
    }
}

pub(crate) fn version(map: &ConfigMap) -> ResourceVersion {
    ResourceVersion::new(map.metadata.resource_version.as_deref().expect("stored objects have one"))
}
