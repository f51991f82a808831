//! The way to the API server that the flags ask for.

use watchkeeper::Connection;

use crate::cli::Target;
use crate::problem;

impl Target {
    /// The connection; sends nothing yet.
    ///
    /// # Errors
    /// A kubeconfig, a context or credentials that can't be used.
    pub(crate) async fn connection(&self) -> Result<Connection, String> {
        Connection::infer_context(self.kubeconfig.as_deref(), self.context.as_deref())
            .await
            .map_err(|error| problem::chain(&error))
    }
}
