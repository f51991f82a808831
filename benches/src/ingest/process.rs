//! A client in a process of its own: it says how it stands once it is synced, and again whenever it is asked.
//!
//! In: a command. Out: its [`Figure`]s, a line of JSON each. It ends when nothing more is asked of it.

use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use watchkeeper::BoxError;

use super::figure::Figure;

pub(crate) struct Process {
    child: Child,
    ask: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Process {
    pub(crate) fn start(command: Command) -> Result<Self, BoxError> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = tokio::process::Command::from(command)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot run {name}: {error}"))?;
        let (ask, answers) = (child.stdin.take(), child.stdout.take());
        let ask = ask.ok_or("a child without stdin")?;
        let answers = BufReader::new(answers.ok_or("a child without stdout")?).lines();
        Ok(Self { child, ask, answers })
    }

    /// The next figure.
    pub(crate) async fn figure(&mut self, patience: Duration) -> Result<Figure, BoxError> {
        let line =
            tokio::time::timeout(patience, self.answers.next_line()).await.map_err(|_| "it takes too long")??;
        let line = line.ok_or("the client has ended without a figure")?;
        serde_json::from_str(&line).map_err(|error| format!("an unreadable figure: {error}: {line}").into())
    }

    pub(crate) async fn ask(&mut self, patience: Duration) -> Result<Figure, BoxError> {
        self.ask.write_all(b"\n").await?;
        self.figure(patience).await
    }

    pub(crate) async fn end(mut self) -> Result<(), BoxError> {
        drop(self.ask);
        let status = self.child.wait().await?;
        if status.success() { Ok(()) } else { Err(format!("the client has ended with {status}").into()) }
    }
}
