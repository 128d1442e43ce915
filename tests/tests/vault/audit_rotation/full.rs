//! A volume that is nearly full, and one that is: a small file system in a mount namespace of its own, which ends with the
//! process that holds it.

use std::time::SystemTime;

use super::*;

/// Of the file system, in MiB. A sixteenth of it, 8 MiB, is to stay free: one caller makes 2 MiB of lines in a second.
const SIZE: usize = 128;
/// Logs that lie there from before, of 8 MiB each. They leave 16 MiB.
const OLD: u32 = 14;
const OLD_SIZE: usize = 8 << 20;
/// Whether a file is one of them.
const OLD_MARK: &[u8] = b"from before";

const HOLD: &str = r#"mount -t tmpfs -o "size=$2m" audit "$1"; : >"$1/.ready"; exec sleep infinity"#;

/// The process that holds the file system, and the way there from outside its namespace.
fn volume(run: &OwnedRun) -> (Process, PathBuf) {
    let folder = run.folder("volume").unwrap();
    let is_root = rustix::process::geteuid().is_root();
    let user: &[&str] = if is_root {
        &[]
    } else {
        &["--user", "--map-root-user"]
    };
    let spec = ProcessSpec::new("volume", "unshare", run)
        .args(user.iter().copied())
        .args([
            "--mount",
            "--propagation=private",
            "--",
            "/bin/sh",
            "-euc",
            HOLD,
            "hold",
        ])
        .args([folder.display().to_string(), SIZE.to_string()]);
    let holder = Process::start(spec, run).unwrap();
    let inside = folder.strip_prefix("/").unwrap();
    let path = PathBuf::from(format!("/proc/{}/root", holder.pid())).join(inside);
    wait::until("a small file system", DEADLINE, || {
        holder.check_running()?;
        ensure!(path.join(".ready").exists(), "it is not mounted yet");
        Ok(())
    })
    .unwrap();
    (holder, path)
}

/// Fills the file system with logs that were put aside long ago, the highest number first.
fn fill_with_old(folder: &Path) {
    let mut content = vec![b'.'; OLD_SIZE];
    content[..OLD_MARK.len()].copy_from_slice(OLD_MARK);
    for number in 1..=OLD {
        let path = folder.join(format!("{LOG}.{number}"));
        fs::write(&path, &content).unwrap();
        let age = Duration::from_secs(3600 * u64::from(number));
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }
}

fn is_old(path: &Path) -> bool {
    use std::io::Read as _;
    let mut start = [0; OLD_MARK.len()];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == OLD_MARK
}

/// How many of the old logs are left, and how many bytes of new ones there are.
fn left(folder: &Path) -> (usize, u64) {
    let (mut old, mut new) = (0, 0);
    for name in names(folder) {
        let path = folder.join(name);
        if is_old(&path) {
            old += 1;
        } else {
            // Between two looks it may have got another name.
            new += fs::metadata(path).map_or(0, |meta| meta.len());
        }
    }
    (old, new)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_fills_up_loses_its_oldest_logs_and_the_server_goes_on_answering() {
    let run = OwnedRun::create("audit-full", TESTBED).unwrap();
    let (_holder, folder) = volume(&run);
    fill_with_old(&folder);
    let audited = Audited::start_in("full", run, folder.clone()).await;
    let free = ((SIZE << 20) - OLD_SIZE * OLD as usize) as u64;

    let helper = audited.helper();
    let callers = audited.callers(1);
    wait::until_async("more lines than there was room for", DEADLINE, async || {
        let (old, new) = left(&folder);
        ensure!(new > free + OLD_SIZE as u64, "{new} bytes, and {old} old logs");
        Ok(())
    })
    .await
    .unwrap();
    let answered = callers.stop().await;
    helper.kill().unwrap();
    let (old, _) = left(&folder);
    assert!(
        (1..OLD as usize).contains(&old),
        "{old} of {OLD} old logs are left"
    );
    let logged = audited.logged(|path| !is_old(path));
    let wrong: Vec<_> = answered
        .iter()
        .filter(|id| logged.get(*id) != Some(&(1, 1)))
        .collect();
    assert!(
        wrong.is_empty(),
        "of {} answered requests these are not in the logs once: {wrong:?}",
        answered.len()
    );

    // Somebody else takes the rest: the only device cannot write, and the server refuses all.
    let filler = folder.join(".filler");
    let full = fs::write(&filler, vec![b'.'; SIZE << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let client = audited.server.http_client().unwrap();
    let url = format!("{}/v1/auth/token/lookup-self", audited.server.url());
    wait::until_async("a request to be refused", DEADLINE, async || {
        let answer = ask(&client, &url, &audited.token).await;
        ensure!(answer.is_err(), "it is answered");
        Ok(())
    })
    .await
    .unwrap();
    let helper = audited.helper();
    wait::until_async("the server to answer again", DEADLINE, async || {
        ask(&client, &url, &audited.token).await?;
        Ok(())
    })
    .await
    .unwrap();
    let (now, _) = left(&folder);
    assert!(now < old, "an old log has gone for it: {now} of {old} are left");
    helper.kill().unwrap();
}
