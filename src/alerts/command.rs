//! Delivers an alert by a command.

use std::{convert::Infallible, path::PathBuf, process::Stdio};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::ChildStderr,
};

/// Maximum number of characters of the error output that are shown.
const SHOWN: usize = 200;
/// Size of the end of the error output that is kept, in bytes.
const KEPT: usize = 4 * SHOWN;
/// Variables that the command inherits. All others may be secrets.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// A program and its arguments.
pub(super) struct Command {
    pub program: PathBuf,
    pub arguments: Vec<String>,
}

/// A program and those that it started; they are killed when this is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // The only error is that none of them runs any more.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Command {
    /// Runs the command with this text on standard input. If it fails, or the returned future is dropped, the program
    /// and those that it started are killed.
    pub async fn run(&self, input: &str) -> Result<(), String> {
        let shown = self.program.display();
        let inherited = INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        let mut child = tokio::process::Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .envs(inherited)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{shown} cannot be started: {error}"))?;
        let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let mut output = Output { from: stderr, end: Vec::new() };
        let talk = async {
            let write = async {
                if let Some(mut stdin) = stdin {
                    // A program that does not read its input is no error.
                    let _ = stdin.write_all(input.as_bytes()).await;
                }
            };
            tokio::join!(write, output.read());
            // A program that has closed its output may still run.
            std::future::pending::<Infallible>().await
        };
        let ended = tokio::select! {
            never = talk => match never {},
            ended = child.wait() => ended.map_err(|error| format!("{shown} cannot be waited for: {error}"))?,
        };
        if ended.success() {
            // Programs that it left running are not killed.
            group.0 = None;
            return Ok(());
        }
        // Without writers, the output ends.
        drop(group);
        output.read().await;
        let how = ended.code().map_or_else(|| "was killed".to_owned(), |code| format!("ended with exit code {code}"));
        let output = String::from_utf8_lossy(&output.end);
        let last: String = output.trim().lines().last().unwrap_or_default().chars().take(SHOWN).collect();
        Err(if last.is_empty() { format!("{shown} {how}") } else { format!("{shown} {how}: {last}") })
    }
}

/// The error output of a program.
struct Output {
    from: Option<ChildStderr>,
    /// The last bytes.
    end: Vec<u8>,
}

impl Output {
    /// Reads to the end. If it is interrupted, it can be continued.
    async fn read(&mut self) {
        let Some(from) = &mut self.from else { return };
        let mut part = [0; KEPT];
        while let Ok(read @ 1..) = from.read(&mut part).await {
            self.end.extend_from_slice(&part[..read]);
            self.end.drain(..self.end.len().saturating_sub(KEPT));
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a program runs by the real time")]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shell(script: &str) -> Command {
        Command { program: "/bin/sh".into(), arguments: vec!["-c".to_owned(), script.to_owned()] }
    }

    async fn error(script: &str) -> String {
        shell(script).run("").await.unwrap_err()
    }

    #[tokio::test]
    async fn the_command_reads_the_input_and_has_no_other_variables() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out");
        // Cargo sets this variable in the tests.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        shell(&format!("cat > {0}; env >> {0}", file.display())).run("{\"a\":1}\n").await.unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("{\"a\":1}\n") && text.contains("PATH=") && !text.contains("CARGO"), "{text}");
    }

    #[tokio::test]
    async fn a_failure_is_reported_with_exit_code_and_last_line() {
        assert_eq!(error("echo one >&2; echo two >&2; exit 3").await, "/bin/sh ended with exit code 3: two");
        assert_eq!(error("exit 1").await, "/bin/sh ended with exit code 1");
        assert_eq!(error("kill -9 $$").await, "/bin/sh was killed");
        let missing = Command { program: "/nonexistent".into(), arguments: Vec::new() };
        assert!(missing.run("").await.unwrap_err().starts_with("/nonexistent cannot be started: "));
    }

    #[tokio::test]
    async fn neither_unread_input_nor_much_output_nor_a_program_in_the_background_delays_the_end() {
        shell("exec 0<&-; exit 0").run(&"x".repeat(1 << 20)).await.unwrap();
        let much = error("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo last >&2; exit 2").await;
        assert_eq!(much, "/bin/sh ended with exit code 2: last");
        shell("sleep 30 & exit 0").run("").await.unwrap();
        assert_eq!(error("sleep 600 & echo no >&2; exit 4").await, "/bin/sh ended with exit code 4: no");
    }

    #[tokio::test]
    async fn what_runs_is_killed_if_nobody_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let command = shell(&format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display()));
        let run = tokio::spawn(async move { command.run("").await });
        let pid = loop {
            match std::fs::read_to_string(&file) {
                Ok(pid) => break Pid::from_raw(pid.trim().parse().unwrap()),
                Err(_) => tokio::task::yield_now().await,
            }
        };
        run.abort();
        assert!(run.await.unwrap_err().is_cancelled());
        // A killed process stays visible until its parent has read its end.
        let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let ended = async {
            while !state().is_empty() && !state().contains(") Z ") {
                tokio::task::yield_now().await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(10), ended).await;
        assert!(ended.is_ok(), "{}", state());
    }
}
