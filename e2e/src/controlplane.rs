//! A real control plane: etcd and one or more API servers, with identities.
//!
//! In: how many API servers, which users. Out: ready servers, kubeconfigs and clients per identity, the log of writes.
//! Never: touches a port that isn't loopback, a file outside its folder, or lives on after it is dropped.

use std::path::PathBuf;

use kube_client::Client;
use serde_json::{Value, json};

use crate::HarnessError;
use crate::apiserver::{ApiServer, Shared};
use crate::error::binary_from_env;
use crate::etcd::Etcd;
use crate::exclusive::{WriteRecord, read_kubernetes_audit};
use crate::folder::Folder;
use crate::kubeconfig::{self, Access};
use crate::proxy::Proxy;

/// Where the binary made by `e2e/controlplane/build` is.
pub const CONTROLPLANE_BIN: &str = "WATCHKEEPER_CONTROLPLANE_BIN";
/// The identity that may do everything (group system:masters).
pub const ADMIN: &str = "admin";

/// One identity besides the admin. It may do nothing until something is granted to it or to its groups.
#[derive(Clone, Debug)]
pub struct User {
    /// Its name, as RBAC and the audit log show it. No commas or quotes.
    pub name: String,
    /// Its groups, likewise.
    pub groups: Vec<String>,
}

impl User {
    /// A user called `name` in `groups`.
    pub fn new(name: &str, groups: &[&str]) -> Self {
        Self { name: name.to_owned(), groups: groups.iter().map(|&group| group.to_owned()).collect() }
    }
}

/// What to start.
#[derive(Clone, Debug)]
pub struct ControlPlaneConfig {
    /// How many API servers on the one etcd. 1 to 3 are sensible.
    pub api_servers: usize,
    /// The identities, besides [`ADMIN`].
    pub users: Vec<User>,
    /// More flags for every API server, such as `--min-request-timeout=5`.
    pub api_server_flags: Vec<String>,
}

impl Default for ControlPlaneConfig {
    fn default() -> Self {
        Self { api_servers: 1, users: Vec::new(), api_server_flags: Vec::new() }
    }
}

/// etcd and API servers, all ready. Dropping it ends them.
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped in this order: a server without its etcd would fill the log.
    servers: Vec<ApiServer>,
    etcd: Etcd,
    folder: Folder,
}

impl ControlPlane {
    /// Starts everything and waits until it is ready. The binary is the one in `$WATCHKEEPER_CONTROLPLANE_BIN`.
    ///
    /// # Errors
    /// Something doesn't become ready in time; the end of its log is in the error.
    pub async fn start(folder: &Folder, config: ControlPlaneConfig) -> Result<Self, HarnessError> {
        let binary = binary_from_env(CONTROLPLANE_BIN, "control plane binary")?;
        write_files(folder, &config.users)?;
        let etcd = Etcd::start(folder, binary.clone()).await?;
        let shared = Shared {
            binary,
            folder: folder.clone(),
            etcd: etcd.address(),
            admin_token: token(ADMIN),
            extra_flags: config.api_server_flags,
        };
        let mut servers = Vec::new();
        // One after another: the first makes the certificate that the others use too.
        for index in 0..config.api_servers {
            servers.push(ApiServer::start(shared.clone(), index).await?);
        }
        Ok(Self { servers, etcd, folder: folder.clone() })
    }

    /// API server number `index`, to stop, pause or restart it.
    ///
    /// # Panics
    /// There is no such server.
    pub fn server(&mut self, index: usize) -> &mut ApiServer {
        &mut self.servers[index]
    }

    /// The etcd under all of them.
    pub fn etcd(&mut self) -> &mut Etcd {
        &mut self.etcd
    }

    /// A kubeconfig with which `user` reaches API server `index`.
    ///
    /// # Errors
    /// It can't be written.
    ///
    /// # Panics
    /// There is no such server.
    pub fn kubeconfig(&self, index: usize, user: &str) -> Result<PathBuf, HarnessError> {
        self.access(&format!("{user}-{index}"), (index, self.servers[index].port()), (user, &token(user)))
    }

    /// The same by a token of the server's own making, such as a service account's.
    ///
    /// # Errors
    /// It can't be written.
    ///
    /// # Panics
    /// There is no such server.
    pub fn kubeconfig_with_token(&self, index: usize, user: &str, token: &str) -> Result<PathBuf, HarnessError> {
        self.access(&format!("{user}-{index}"), (index, self.servers[index].port()), (user, token))
    }

    /// A way to API server 0 that can be cut, and the kubeconfig with which `user` goes it.
    ///
    /// # Errors
    /// There is no free port, or the file can't be written.
    pub async fn cuttable(&self, user: &str) -> Result<(Proxy, PathBuf), HarnessError> {
        let proxy = Proxy::start(self.servers[0].port()).await?;
        let kubeconfig = self.access(&format!("{user}-proxy"), (0, proxy.port()), (user, &token(user)))?;
        Ok((proxy, kubeconfig))
    }

    fn access(
        &self,
        name: &str,
        (index, port): (usize, u16),
        (user, token): (&str, &str),
    ) -> Result<PathBuf, HarnessError> {
        let (address, authority) = (format!("https://127.0.0.1:{port}"), self.servers[index].authority());
        Access { address: &address, authority: Some(&authority), user, token }.write(&self.folder, name)
    }

    /// A client of `user` to API server `index`, without retries.
    ///
    /// # Errors
    /// Its kubeconfig can't be written.
    ///
    /// # Panics
    /// There is no such server.
    pub async fn client(&self, index: usize, user: &str) -> Result<Client, HarnessError> {
        kubeconfig::client(&self.kubeconfig(index, user)?).await
    }

    /// Lets `group` do what `rules` (RBAC PolicyRules) say, in all namespaces.
    ///
    /// # Errors
    /// The server refuses the rules, or something was already granted to the group.
    pub async fn grant(&self, group: &str, rules: Value) -> Result<(), HarnessError> {
        let client = self.client(0, ADMIN).await?;
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": group}, "rules": rules,
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": group},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": group},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
        });
        kubeconfig::create(&client, "/apis/rbac.authorization.k8s.io/v1/clusterroles", &role).await?;
        kubeconfig::create(&client, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding).await?;
        Ok(())
    }

    /// All writes to Leases, Events and ConfigMaps that the servers have answered so far.
    ///
    /// # Errors
    /// A log can't be read.
    pub fn writes(&self) -> Result<Vec<WriteRecord>, HarnessError> {
        let mut writes = Vec::new();
        for server in &self.servers {
            let path = server.audit_log();
            let what = || format!("reading {}", path.display());
            let text = std::fs::read_to_string(&path).map_err(HarnessError::io(what()))?;
            writes.extend(read_kubernetes_audit(&text).map_err(HarnessError::request(what()))?);
        }
        Ok(writes)
    }
}

/// Known to whoever knows the name; the servers listen on loopback and hold nothing of value.
fn token(user: &str) -> String {
    format!("token-{user}")
}

fn write_files(folder: &Folder, users: &[User]) -> Result<(), HarnessError> {
    let mut tokens = format!("{},{ADMIN},{ADMIN},\"system:masters\"\n", token(ADMIN));
    for User { name, groups } in users {
        tokens.push_str(&format!("{},{name},{name},\"{}\"\n", token(name), groups.join(",")));
    }
    // Bodies are needed for the stored version and the epoch in its annotations.
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "RequestResponse", "verbs": ["create", "update", "patch", "delete"], "resources": [
                {"group": "coordination.k8s.io", "resources": ["leases"]},
                {"group": "events.k8s.io", "resources": ["events"]},
                {"group": "", "resources": ["configmaps"]},
            ]},
            {"level": "None"},
        ],
    });
    let write = |name: &str, text: String| {
        std::fs::write(folder.join(name), text).map_err(HarnessError::io(format!("writing {name}")))
    };
    write("tokens.csv", tokens)?;
    write("audit-policy.json", policy.to_string())
}
