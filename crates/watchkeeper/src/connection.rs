//! How to reach one API server: makes clients, each with a transport of its own.
//!
//! In: a kube `Config` (from flags, the environment or the service account), or a function that makes in-process services.
//! Out: a [`Client`] for reading, a client with one more layer directly above the connection (the write fence), a client for the elector.
//!
//! A finished `Client` is not accepted: its retry layer can't be taken out any more, and a layer put around it sits above queueing
//! and authentication, where a pause can come between the check and the send. So the stack is built here, in one place:
//!
//! ```text
//! Client → base URI → authentication → extra headers → [fence] → connection pool → TCP (no delay, keep-alive) → TLS
//! ```
//!
//! It never retries: each caller owns its deadline and its backoff (kube-client's default stack retries 429, 503 and 504 up to
//! 15 times inside, `kube-rs/kube:kube-client/src/client/retry.rs`).

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube_client::client::{Body, ConfigExt as _};
use kube_client::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube_client::{Client, Config, Resource};
use serde::de::DeserializeOwned;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt as _};

use watchkeeper_informer::decode::Decoder;
use watchkeeper_informer::{
    Budget, Cached, Deadlines, InformerConfig, KubeListWatch, NamespacesError, Scope, SharedInformer,
};

use crate::BoxError;

/// How long a TCP connection may take to open. Requests have deadlines of their own; this one only frees the socket.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle time after which the kernel probes a connection, so that a dead peer is seen without traffic.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// What answers requests at the bottom of a client: a connection pool, or a service in this process.
pub type Transport = BoxCloneSyncService<Request<Body>, Response<TransportBody>, BoxError>;
/// The body of an answer.
pub type TransportBody = UnsyncBoxBody<Bytes, BoxError>;

/// How to reach one API server. Cheap to clone; holds no connection.
#[derive(Clone)]
pub struct Connection {
    way: Way,
    default_namespace: Arc<str>,
    /// Of the jitter of informers made here.
    seed: u64,
    /// What all informers made here may ask of the server together.
    budget: Budget,
}

#[derive(Clone)]
enum Way {
    Network(Arc<Config>),
    InProcess(Arc<dyn Fn() -> Transport + Send + Sync>),
}

impl Connection {
    /// Over the network, as `config` says. Its `default_retry`, `read_timeout` and `write_timeout` are not used (see the module page).
    ///
    /// # Errors
    /// A `proxy_url` is refused: a proxy between elector and server is not supported.
    pub fn from_config(config: Config) -> Result<Self, ConnectionError> {
        if let Some(proxy) = &config.proxy_url {
            return Err(ConnectionError::Proxy(place(proxy)));
        }
        let default_namespace = Arc::from(config.default_namespace.as_str());
        // A machine without random bits still has a process id to differ by.
        let seed = getrandom::u64().unwrap_or_else(|_| std::process::id().into());
        Ok(Self { way: Way::Network(Arc::new(config)), default_namespace, seed, budget: Budget::default() })
    }

    /// In this process, without a socket: `make` is called once per client.
    pub fn in_process<S, B>(default_namespace: &str, make: impl Fn() -> S + Send + Sync + 'static) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let way = Way::InProcess(Arc::new(move || erase(make())));
        // A run in one process is a function of its inputs.
        Self { way, default_namespace: Arc::from(default_namespace), seed: 0, budget: Budget::default() }
    }

    /// Finds the API server as kubectl and client-go's tools do: `kubeconfig` (a flag), else `$KUBECONFIG`, else the service account
    /// of the pod this runs in, else `~/.kube/config`. Upstream: `kubernetes/client-go:tools/clientcmd/client_config.go`.
    ///
    /// # Errors
    /// What could not be read, where, and what to do about it. Never holds credentials.
    pub async fn infer(kubeconfig: Option<&Path>) -> Result<Self, ConnectionError> {
        Self::infer_context(kubeconfig, None).await
    }

    /// As [`infer`](Self::infer), with this context of the kubeconfig instead of its current one. A context that is asked for is one of a
    /// kubeconfig, so that a service account isn't looked for.
    ///
    /// # Errors
    /// As [`infer`](Self::infer); a context that isn't there, with those that are.
    pub async fn infer_context(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Self, ConnectionError> {
        let from_env = || std::env::var_os("KUBECONFIG").filter(|paths| !paths.is_empty()).map(PathBuf::from);
        let named = kubeconfig.map(Path::to_owned).or_else(from_env);
        if named.is_none() && context.is_none() && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
            return Self::from_config(
                Config::incluster().map_err(|source| ConnectionError::ServiceAccount(Box::new(source)))?,
            );
        }
        let unusable = |source: KubeconfigError| match &named {
            Some(path) => ConnectionError::Kubeconfig { path: path.clone(), source: Box::new(source) },
            None => ConnectionError::NothingFound(Box::new(source)),
        };
        let parsed = kubeconfig.map_or_else(Kubeconfig::read, Kubeconfig::read_from).map_err(unusable)?;
        if let Some(context) = context {
            let there: Vec<String> = parsed.contexts.iter().map(|context| context.name.clone()).collect();
            if !there.iter().any(|name| name == context) {
                return Err(ConnectionError::Context { context: context.to_owned(), there });
            }
        }
        let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
        Self::from_config(Config::from_custom_kubeconfig(parsed, &options).await.map_err(unusable)?)
    }

    /// The namespace of the kubeconfig's context or of the service account.
    pub fn default_namespace(&self) -> &str {
        &self.default_namespace
    }

    /// The address of the API server, for people.
    pub fn address(&self) -> String {
        match &self.way {
            Way::Network(config) => config.cluster_url.to_string(),
            Way::InProcess(_) => "an API server in this process".to_owned(),
        }
    }

    /// A client with a connection pool of its own. Must be called on the runtime that will use it: the pool's tasks live there.
    ///
    /// # Errors
    /// Credentials or certificates that can't be used.
    pub fn client(&self) -> Result<Client, ConnectionError> {
        self.layered(tower::layer::util::Identity::new())
    }

    /// An informer of all objects of a kind, in all namespaces, with default settings and a connection of its own.
    ///
    /// # Errors
    /// As [`client`](Self::client).
    pub fn informer<K>(&self) -> Result<SharedInformer<K>, ConnectionError>
    where
        K: Cached + DeserializeOwned + Resource<DynamicType = ()>,
    {
        self.informer_in(Scope::all::<K>())
    }

    /// An informer of the objects in `scope` (a namespace, a selector, a shard); all that are made here share a budget
    /// ([`Connection::budget`]). Otherwise as [`informer`](Self::informer).
    ///
    /// # Errors
    /// As [`client`](Self::client).
    pub fn informer_in<K: Cached + DeserializeOwned>(
        &self,
        scope: Scope,
    ) -> Result<SharedInformer<K>, ConnectionError> {
        let config = self.informer_config(&scope);
        self.informer_with(scope, Decoder::new(config.decoder), config)
    }

    /// An informer that keeps what `decoder` makes of the objects in `scope`: metadata, a struct of one's own, lazy or transformed
    /// objects ([`shape`](watchkeeper_informer::shape)); read as `config` says. Begin with [`Connection::informer_config`].
    ///
    /// # Errors
    /// As [`client`](Self::client).
    pub fn informer_with<K: Cached>(
        &self,
        scope: Scope,
        decoder: Decoder<K>,
        config: InformerConfig,
    ) -> Result<SharedInformer<K>, ConnectionError> {
        let list_watch = Arc::new(KubeListWatch::new(self.client()?, scope, Deadlines::default()));
        Ok(SharedInformer::with_decoder(list_watch, decoder, config).with_budget(self.budget.clone()))
    }

    /// What all informers made here may ask of the server together; for those that are made otherwise.
    pub fn budget(&self) -> Budget {
        self.budget.clone()
    }

    /// The same connection with another budget, for informers made from now on.
    #[must_use]
    pub fn with_budget(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// An informer of the objects of `scope` in these namespaces only, for those who may not read the kind in the whole cluster;
    /// see [`SharedInformer::in_namespaces`]. Its handle adds others by their names alone, also while it runs
    /// ([`InformerHandle::add_namespace`](watchkeeper_informer::InformerHandle::add_namespace)).
    ///
    /// # Errors
    /// As [`client`](Self::client); no namespace, an empty one, or one that is given twice. `scope.namespace` has no say.
    pub fn informer_in_namespaces<K: Cached + DeserializeOwned>(
        &self,
        scope: &Scope,
        namespaces: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<SharedInformer<K>, ConnectionError> {
        let (config, client) = (self.informer_config(scope), self.client()?);
        let deadlines = Deadlines::default();
        let sources = KubeListWatch::in_namespaces(client.clone(), scope.clone(), namespaces, deadlines.clone());
        let informer = SharedInformer::in_namespaces(sources, &Decoder::new(config.decoder), &config)?;
        let sources = KubeListWatch::sources(client, scope.clone(), deadlines);
        Ok(informer.with_budget(self.budget.clone()).with_sources(sources))
    }

    /// The defaults, with a name and a seed for an informer of this scope: different for each scope and process.
    pub fn informer_config(&self, scope: &Scope) -> InformerConfig {
        let mut config = InformerConfig::default();
        config.reflector.name = scope.to_string();
        // So that informers neither list nor retry in step.
        let mut hasher = DefaultHasher::new();
        (self.seed, &config.reflector.name).hash(&mut hasher);
        config.reflector.seed = hasher.finish();
        config
    }

    /// As [`client`](Self::client), with `layer` directly above the connection.
    ///
    /// # Errors
    /// As [`client`](Self::client).
    pub(crate) fn layered<L, B>(&self, layer: L) -> Result<Client, ConnectionError>
    where
        L: Layer<Transport>,
        L::Service: Service<Request<Body>, Response = Response<B>, Error = BoxError> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request<Body>>>::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let namespace = &*self.default_namespace;
        match &self.way {
            Way::InProcess(make) => Ok(Client::new(layer.layer(make()), namespace)),
            Way::Network(config) => {
                let stack = ServiceBuilder::new()
                    .layer(config.base_uri_layer())
                    .option_layer(config.auth_layer().map_err(ConnectionError::credentials)?)
                    .layer(config.extra_headers_layer().map_err(ConnectionError::credentials)?)
                    .map_err(Into::<BoxError>::into)
                    .service(layer.layer(pool(config)?));
                Ok(Client::new(stack, namespace))
            }
        }
    }
}

/// The connection pool: HTTP/1.1, one request a connection at a time, TLS through rustls.
fn pool(config: &Config) -> Result<Transport, ConnectionError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let tls = config.rustls_https_connector_with_connector(tcp).map_err(ConnectionError::credentials)?;
    Ok(erase(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(tls)))
}

fn erase<S, B>(service: S) -> Transport
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    BoxCloneSyncService::new(
        service
            .map_err(Into::into)
            .map_response(|response: Response<B>| response.map(|body| body.map_err(Into::into).boxed_unsync())),
    )
}

/// Why an API server can't be reached at all; what to do is part of the text.
#[derive(thiserror::Error)]
pub enum ConnectionError {
    /// A kubeconfig that was asked for can't be used.
    #[error("cannot use the kubeconfig {path}: {source}; check that the file exists, is readable and has a current context", path = path.display())]
    Kubeconfig {
        /// The file, or the list of `$KUBECONFIG`.
        path: PathBuf,
        /// What kube-client says.
        source: BoxError,
    },
    /// The kubeconfig has no such context.
    #[error("the kubeconfig has no context {context:?}; it has {}", listed(there))]
    Context {
        /// The one asked for.
        context: String,
        /// Those that are there.
        there: Vec<String>,
    },
    /// In a pod, but its service account can't be used.
    #[error(
        "cannot use the service account of this pod: {0}; check automountServiceAccountToken, or pass --kubeconfig"
    )]
    ServiceAccount(BoxError),
    /// Neither a flag, nor `$KUBECONFIG`, nor a pod, nor a file in the home folder.
    #[error(
        "found no way to an API server ({0}); pass --kubeconfig FILE, set KUBECONFIG, or run in a pod with a service account and without --context"
    )]
    NothingFound(BoxError),
    /// The kubeconfig or the environment names a proxy: its host and port.
    #[error("requests would go through the proxy {0}, which is not supported; remove proxy-url and HTTPS_PROXY")]
    Proxy(String),
    /// Credentials or certificates.
    #[error("cannot use the credentials or certificates of the kubeconfig: {0}")]
    Credentials(BoxError),
    /// No informer can be made of these namespaces.
    #[error(transparent)]
    Namespaces(#[from] NamespacesError),
}

/// Where a proxy is, without credentials.
fn place(proxy: &Uri) -> String {
    let host = proxy.host().unwrap_or_default();
    match proxy.port_u16() {
        Some(port) => format!("{host}:{port}"),
        None => format!("{host:?} (its port is missing)"),
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// As for people: a `main` that returns this error prints it so.
impl fmt::Debug for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl ConnectionError {
    fn credentials(source: impl Into<BoxError>) -> Self {
        Self::Credentials(source.into())
    }
}
