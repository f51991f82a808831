//! Pods as protobuf: what a server sends of them.
//!
//! In: their list as JSON, and client-go's program. Out: the bytes of the list, of the events of a streaming list, and of the
//! event that ends a watch, all rendered beforehand by client-go's own code. There are no pages: client-go asks for them only
//! where a server with a watch cache sends everything anyway.

use std::fs::File;
use std::path::Path;

use bytes::Bytes;
use watchkeeper::BoxError;

use crate::client_go;

/// Of an object or a list.
pub(super) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// Of events, each behind its length.
pub(super) const STREAM_MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf;stream=watch";

/// All that is sent.
pub(super) struct Rendered {
    pub(super) list: Bytes,
    pub(super) initial: Bytes,
    pub(super) expired: Bytes,
}

impl Rendered {
    /// Runs the program once, with files in a temporary folder.
    pub(super) fn by(program: &Path, list: &[u8]) -> Result<Self, BoxError> {
        let folder = tempfile::tempdir()?;
        let pods = folder.path().join("pods.json");
        std::fs::write(&pods, list)?;
        let mut command = client_go::command(program);
        command.args(["render", "--to"]).arg(folder.path()).stdin(File::open(pods)?);
        let status = command.status()?;
        if !status.success() {
            return Err(format!("rendering the Pods as protobuf failed: {status}").into());
        }
        let read = |name: &str| std::fs::read(folder.path().join(name)).map(Bytes::from);
        Ok(Self { list: read("list")?, initial: read("initial")?, expired: read("expired")? })
    }
}
