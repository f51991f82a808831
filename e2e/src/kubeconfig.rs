//! Kubeconfig files, one an identity, and clients made from them.
//!
//! In: address, certificate authority, token. Out: a file that kubectl and every client library can read (JSON is
//! YAML), and a client without kube-client's inner retries, so that a test sees each answer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube_client::config::{KubeConfigOptions, Kubeconfig};
use kube_client::{Client, Config};
use serde_json::{Value, json};

use crate::HarnessError;
use crate::folder::Folder;

/// Longest wait for a connection to loopback.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How one identity reaches one server.
#[derive(Debug)]
pub(crate) struct Access<'a> {
    pub(crate) address: &'a str,
    pub(crate) authority: Option<&'a Path>,
    pub(crate) user: &'a str,
    pub(crate) token: &'a str,
}

impl Access<'_> {
    /// Writes the kubeconfig as `NAME.kubeconfig` into `folder`.
    pub(crate) fn write(&self, folder: &Folder, name: &str) -> Result<PathBuf, HarnessError> {
        let mut cluster = json!({"server": self.address});
        if let Some(authority) = self.authority {
            cluster["certificate-authority"] = Value::String(authority.display().to_string());
        }
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "e2e",
            "clusters": [{"name": "e2e", "cluster": cluster}],
            "users": [{"name": self.user, "user": {"token": self.token}}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": self.user, "namespace": "default"}}],
        });
        let path = folder.join(format!("{name}.kubeconfig"));
        std::fs::write(&path, format!("{config:#}\n"))
            .map_err(HarnessError::io(format!("writing {}", path.display())))?;
        Ok(path)
    }
}

/// A client from a kubeconfig file. It answers 429, 503 and 504 as they come, and has no deadline of its own.
///
/// # Errors
/// The file can't be read or names no usable server.
pub async fn client(kubeconfig: &Path) -> Result<Client, HarnessError> {
    let what = || format!("a client from {}", kubeconfig.display());
    let parsed = Kubeconfig::read_from(kubeconfig).map_err(HarnessError::request(what()))?;
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(parsed, &options).await.map_err(HarnessError::request(what()))?;
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    Client::try_from(config).map_err(HarnessError::request(what()))
}

/// POSTs `object` to the collection at `path` and returns what the server stored.
///
/// # Errors
/// The server refused it, or could not be reached.
pub async fn create(client: &Client, path: &str, object: &Value) -> Result<Value, HarnessError> {
    send(client, http::Method::POST, path, ("application/json", object.to_string())).await
}

/// Sends `body`, of the content type named before it, and returns the JSON that is answered.
///
/// # Errors
/// The server refused it, or could not be reached.
pub async fn send(
    client: &Client,
    method: http::Method,
    path: &str,
    (content_type, body): (&str, String),
) -> Result<Value, HarnessError> {
    let what = format!("{method} {path}");
    let request = http::Request::builder().method(method).uri(path);
    let request = request.header(http::header::CONTENT_TYPE, content_type).body(body.into_bytes());
    let request = request.map_err(HarnessError::request(what.clone()))?;
    client.request(request).await.map_err(HarnessError::request(what))
}

/// GETs the text at `path`.
///
/// # Errors
/// The server refused it, or could not be reached.
pub async fn read_text(client: &Client, path: &str) -> Result<String, HarnessError> {
    let request = http::Request::get(path).body(Vec::new()).map_err(HarnessError::request(path))?;
    client.request_text(request).await.map_err(HarnessError::request(path))
}

/// GETs the JSON at `path`.
///
/// # Errors
/// The server refused it, or could not be reached.
pub async fn read(client: &Client, path: &str) -> Result<Value, HarnessError> {
    let what = || format!("reading {path}");
    let request = http::Request::get(path).body(Vec::new()).map_err(HarnessError::request(what()))?;
    client.request(request).await.map_err(HarnessError::request(what()))
}
