//! A cluster leaves the machine as it found it: seen from outside, before and after.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use vaultkeeper_tests::cluster::{Cluster, Options};
use vaultkeeper_tests::images::Image;
use vaultkeeper_tests::run_dir::CGROUP_PREFIX;
use vaultkeeper_tests::wait;

use crate::shared::{Namespace, TESTBED, can_run};

/// What containerd, the kubelet and CNI write to when nobody tells them otherwise.
const USUAL_FOLDERS: [&str; 9] = [
    "/run/containerd",
    "/run/kubernetes",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
    "/etc/cni/net.d",
    "/opt/containerd",
];

/// On a busy machine.
const DEADLINE: Duration = Duration::from_secs(180);

/// What of the machine a cluster could change. Two states are equal although other clusters come and go meanwhile.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    iptables: Vec<String>,
    ip6tables: Vec<String>,
    links: String,
    forwarding: String,
    folders: Vec<&'static str>,
}

impl Machine {
    fn now() -> Self {
        let output = |program: &str, args: &[&str]| {
            let output = Command::new(program).args(args).output().unwrap();
            assert!(output.status.success(), "{program} failed: {output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        Self {
            iptables: chains_and_rules(&output("/usr/sbin/iptables-save", &[])),
            ip6tables: chains_and_rules(&output("/usr/sbin/ip6tables-save", &[])),
            links: output("ip", &["-brief", "link"]),
            forwarding: fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(),
            folders: USUAL_FOLDERS
                .into_iter()
                .filter(|folder| Path::new(folder).exists())
                .collect(),
        }
    }
}

/// What iptables-save printed, without the comments, which carry the time, and the chains' counters, which go on.
fn chains_and_rules(saved: &str) -> Vec<String> {
    saved
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| match line.rsplit_once(" [") {
            Some((chain, _)) if chain.starts_with(':') => chain.to_owned(),
            _ => line.to_owned(),
        })
        .collect()
}

#[test]
fn an_empty_chain_that_is_left_behind_counts_and_its_packets_do_not() {
    let saved = |chain: &str, packets: u32| {
        format!(
            "# Generated at {packets} o'clock\n*mangle\n:PREROUTING ACCEPT [{packets}:8]\n{chain}\
             -A PREROUTING -m comment --comment \"a [1:2]\" -j ACCEPT\nCOMMIT\n"
        )
    };
    let before = chains_and_rules(&saved("", 1));
    assert_eq!(
        chains_and_rules(&saved("", 2)),
        before,
        "only packets were counted"
    );
    assert_ne!(
        chains_and_rules(&saved(":KUBE-KUBELET-CANARY - [0:0]\n", 1)),
        before,
        "a chain without rules is a trace, too"
    );
}

/// What belongs to one cluster, by the kernel's own identities.
struct Traces {
    run: PathBuf,
    netns: PathBuf,
    netns_inode: String,
}

impl Traces {
    fn of(cluster: &Cluster) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let inode = fs::metadata(cluster.netns().path()).unwrap().ino();
        Self {
            run: cluster.run().path().to_owned(),
            netns: cluster.netns().path(),
            netns_inode: format!("net:[{inode}]"),
        }
    }

    /// Everything of the cluster that can be found now.
    fn found(&self) -> BTreeSet<String> {
        let run = self.run.to_string_lossy();
        let netns = self.netns.to_string_lossy();
        let mut found = BTreeSet::new();
        for path in [&self.run, &self.netns] {
            if path.exists() {
                found.insert(format!("path {}", path.display()));
            }
        }
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let path = process.path();
            let in_netns = fs::read_link(path.join("ns/net"))
                .is_ok_and(|link| link.to_string_lossy() == self.netns_inode);
            let marked = fs::read(path.join("environ"))
                .is_ok_and(|environ| String::from_utf8_lossy(&environ).contains(run.as_ref()));
            let mounts = fs::read_to_string(path.join("mountinfo")).unwrap_or_default();
            let mounted = mounts.contains(run.as_ref()) || mounts.contains(netns.as_ref());
            if in_netns || marked {
                found.insert(format!("process {}", path.display()));
            }
            if mounted {
                found.insert(format!("mount seen by {}", path.display()));
            }
        }
        let cgroup = format!(
            "{CGROUP_PREFIX}{}",
            self.run.file_name().unwrap().to_string_lossy()
        );
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            if hierarchy.file_name().to_string_lossy() == cgroup || hierarchy.path().join(&cgroup).exists() {
                found.insert(format!("cgroup {} in {}", cgroup, hierarchy.path().display()));
            }
        }
        found
    }
}

/// Runs a pod with all that leaves traces: a volume, a Service, a probe.
fn use_it(cluster: &Cluster) {
    let namespace = Namespace::restricted(cluster, "traces");
    namespace.apply(include_str!("web.yaml"));
    namespace.wait_for_pod("web");
    // Not deleted: the cluster ends with a pod that runs.
    std::mem::forget(namespace);
}

fn assert_traces(traces: &Traces) {
    let found = traces.found();
    for kind in ["path ", "process ", "mount ", "cgroup "] {
        assert!(
            found.iter().any(|trace| trace.starts_with(kind)),
            "a running cluster should have a {kind}to be seen, got {found:?}"
        );
    }
}

#[test]
fn a_cluster_that_is_taken_down_leaves_the_machine_as_it_was() {
    if !can_run() {
        return;
    }
    let testbed = |args: &[&str]| {
        let output = Command::new(TESTBED).args(args).output().unwrap();
        assert!(
            output.status.success(),
            "testbed {args:?} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let before = Machine::now();
    let name = format!("down-{}", std::process::id());
    testbed(&["up", "--name", &name, "--images", "demo-app"]);
    let cluster = Cluster::find(&name).unwrap();
    let traces = Traces::of(&cluster);
    use_it(&cluster);
    assert_traces(&traces);
    let status = testbed(&["status"]);
    assert!(
        status.contains(&name) && status.contains("kubelet"),
        "`testbed status` should list the cluster and what runs, got:\n{status}"
    );

    testbed(&["down", "--name", &name]);
    assert_eq!(
        traces.found(),
        BTreeSet::new(),
        "nothing of the cluster should be left"
    );
    assert_eq!(Machine::now(), before, "the machine should be as it was before");
}

/// Not a test: the owner of a cluster that the test below kills.
#[test]
#[ignore = "started by the other test of this file"]
fn an_owner_of_a_cluster() {
    if std::env::var_os("OWNS_A_CLUSTER").is_none() {
        return;
    }
    let cluster = Cluster::up_for_test(Options {
        name: None,
        testbed: PathBuf::from(TESTBED),
        images: vec![Image::DemoApp],
    })
    .unwrap();
    eprintln!("CLUSTER {}", cluster.name());
    // Until it is killed, or its standard input ends with the test that started it.
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn a_cluster_whose_owner_is_killed_leaves_the_machine_as_it_was() {
    if !can_run() {
        return;
    }
    let before = Machine::now();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "leftovers::an_owner_of_a_cluster",
            "--ignored",
            "--nocapture",
        ])
        .env("OWNS_A_CLUSTER", "yes")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = Vec::new();
    let name = BufReader::new(owner.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .inspect(|line| said.push(line.clone()))
        .find_map(|line| line.strip_prefix("CLUSTER ").map(str::to_owned));
    let Some(name) = name else {
        panic!(
            "the owner should bring up a cluster, but said:\n{}",
            said.join("\n")
        );
    };
    let cluster = Cluster::find(&name).unwrap();
    let traces = Traces::of(&cluster);
    use_it(&cluster);
    assert_traces(&traces);

    owner.kill().unwrap();
    owner.wait().unwrap();
    wait::until("the reaper's work", DEADLINE, || {
        let found = traces.found();
        anyhow::ensure!(found.is_empty(), "still there: {found:?}");
        Ok(())
    })
    .unwrap();
    assert_eq!(Machine::now(), before, "the machine should be as it was before");
}

#[test]
fn a_start_that_is_killed_half_way_leaves_the_machine_as_it_was() {
    a_start_leaves_nothing_when("killed", |up| up.kill().unwrap());
}

#[test]
fn a_start_that_is_interrupted_by_ctrl_c_leaves_the_machine_as_it_was() {
    a_start_leaves_nothing_when("interrupted", |up| {
        kill_process_group(Pid::from_child(up), Signal::INT).unwrap();
    });
}

fn a_start_leaves_nothing_when(what: &str, happens: impl FnOnce(&mut Child)) {
    if !can_run() {
        return;
    }
    let before = Machine::now();
    let name = format!("{what}-{}", std::process::id());
    // As a shell does: what a Ctrl-C interrupts is a whole group, and it is not ignored, as it is by what a script runs
    // in the background, perhaps these tests.
    let mut up = Command::new("env")
        .args(["--default-signal=INT", TESTBED, "up", "--name", &name])
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let traces = wait::until("a cluster that is about to start", DEADLINE, || {
        let cluster = Cluster::find(&name)?;
        let running = cluster.processes()?;
        anyhow::ensure!(
            running.iter().any(|process| process == "containerd"),
            "only {running:?} run"
        );
        Ok(Traces::of(&cluster))
    })
    .unwrap();
    happens(&mut up);
    up.wait().unwrap();
    wait::until("the reaper's work", DEADLINE, || {
        let found = traces.found();
        anyhow::ensure!(found.is_empty(), "still there: {found:?}");
        Ok(())
    })
    .unwrap();
    assert_eq!(Machine::now(), before, "the machine should be as it was before");
}
