//! A client in a process of its own: it says how it stands once it is synced, and again whenever it is asked.
//!
//! In: a command. Out: its answers, a line of JSON each. It ends when nothing more is asked of it.

use std::process::Command;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use watchkeeper::BoxError;

use crate::usage::Cpu;

/// How long a client is looked at, to see whether it is at rest.
const LOOK: Duration = Duration::from_millis(500);
/// Using less meanwhile is rest: one tick of the kernel's clock may be that of anybody.
const REST: Duration = Duration::from_millis(15);

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

    /// The next answer.
    pub(crate) async fn answer<T: DeserializeOwned>(&mut self, patience: Duration) -> Result<T, BoxError> {
        let line =
            tokio::time::timeout(patience, self.answers.next_line()).await.map_err(|_| "it takes too long")??;
        let line = line.ok_or("the client has ended without an answer")?;
        serde_json::from_str(&line).map_err(|error| format!("an unreadable answer: {error}: {line}").into())
    }

    pub(crate) async fn ask<T: DeserializeOwned>(&mut self, patience: Duration) -> Result<T, BoxError> {
        self.ask.write_all(b"\n").await?;
        self.answer(patience).await
    }

    /// Waits until it has nothing more to do: twice in a row it used hardly any CPU while it was looked at.
    pub(crate) async fn settle(&self, patience: Duration) -> Result<(), BoxError> {
        let id = self.child.id().ok_or("the client has ended")?.to_string();
        let used = || Cpu::of(&id).map(|cpu| cpu.user + cpu.system);
        let settled = async {
            let (mut before, mut calm) = (used()?, 0);
            while calm < 2 {
                tokio::time::sleep(LOOK).await;
                let now = used()?;
                calm = if now.saturating_sub(before) < REST { calm + 1 } else { 0 };
                before = now;
            }
            Ok(())
        };
        tokio::time::timeout(patience, settled).await.map_err(|_| "the client does not come to rest")?
    }

    pub(crate) async fn end(mut self) -> Result<(), BoxError> {
        drop(self.ask);
        let status = self.child.wait().await?;
        if status.success() { Ok(()) } else { Err(format!("the client has ended with {status}").into()) }
    }
}
