//! Mount and process namespaces of a node: whatever containerd, the kubelet and the containers mount or start dies
//! with one process, whoever kills it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::proc_table::ProcessId;
use crate::process::{Process, ProcessSpec};
use crate::run_dir::RunDir;

/// The folders that containerd, runc, CNI and the kubelet write to whatever they are told get a tmpfs of the node's own.
/// A run folder that lies under one of them is put back. `/bin/sh` runs this as process 1, and becomes `$2`.
const SET_UP: &str = r#"
mount --make-rshared /
for folder in /run /var/lib /var/log; do
    mount -t tmpfs -o mode=0755 node "$folder"
done
if ! [ -d "$1/node" ]; then
    mkdir -p "$1"
    mount --bind . "$1"
fi
: >"$1/node/sandbox-ready"
exec "$2"
"#;

/// The namespaces, held by process 1 in them.
#[derive(Debug)]
pub struct Sandbox {
    holder: Process,
    netns: String,
}

impl Sandbox {
    /// Makes the namespaces. `init` is a static program that reaps children: the pause program.
    pub fn start(run: &RunDir, netns: &str, init: &Path) -> anyhow::Result<Self> {
        let ready = run.folder("node")?.join("sandbox-ready");
        let holder = Process::start(
            ProcessSpec::new("sandbox", "unshare", run)
                .args([
                    "--mount",
                    "--propagation=private",
                    "--pid",
                    "--fork",
                    "--kill-child=SIGKILL",
                    "--mount-proc",
                    "--",
                    "/bin/sh",
                    "-euc",
                    SET_UP,
                    "sandbox",
                ])
                .args([run.path().to_string_lossy(), init.to_string_lossy()])
                .netns(Some(netns)),
            run,
        )?;
        super::until_up("the node's namespaces", Duration::from_secs(60), &holder, || {
            ensure!(ready.exists(), "{} is not there", ready.display());
            Ok(())
        })?;
        // The kernel ends all processes in the namespaces before process 1 is gone: who waits for it waits for all.
        let init = child_of(holder.pid()).context("the node's namespaces have no process 1")?;
        run.record_process("node", init)?;
        Ok(Self {
            holder,
            netns: netns.to_owned(),
        })
    }

    /// The same program as `spec` says, to be started inside the namespaces. It dies with the process recorded for it.
    pub fn inside(&self, spec: ProcessSpec) -> ProcessSpec {
        let ProcessSpec {
            name,
            program,
            args,
            env,
            cwd,
            netns: _,
            log,
        } = spec;
        let namespaces = PathBuf::from(format!("/proc/{}/ns", self.holder.pid()));
        let mut wrapped = vec![
            format!("--mount={}", namespaces.join("mnt").display()),
            format!("--pid={}", namespaces.join("pid_for_children").display()),
            "--".to_owned(),
            "setpriv".to_owned(),
            "--pdeathsig=KILL".to_owned(),
            "--".to_owned(),
            program.to_string_lossy().into_owned(),
        ];
        wrapped.extend(args);
        // containerd looks for runc, and the CNI plugins for iptables, where a user's PATH may not lead.
        let path = std::env::var("PATH").unwrap_or_default();
        let mut env = env;
        env.push(("PATH".to_owned(), format!("{path}:/usr/sbin:/sbin")));
        ProcessSpec {
            name,
            program: "nsenter".into(),
            args: wrapped,
            env,
            cwd,
            netns: Some(self.netns.clone()),
            log,
        }
    }

    /// An error if process 1 has ended, and so all others inside.
    pub fn check_running(&self) -> anyhow::Result<()> {
        self.holder.check_running()
    }

    /// Lets the namespaces live on after this program has ended.
    pub fn detach(self) {
        let Self { holder, netns: _ } = self;
        holder.detach();
    }
}

/// The only child of a process.
fn child_of(pid: u32) -> Option<ProcessId> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    ProcessId::living(children.split_whitespace().next()?.parse().ok()?)
}
