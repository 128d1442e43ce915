use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::config;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn write(path: &Path, content: &[u8], mode: Option<u32>) -> Result<Written, WriteError> {
    atomically(&Target::plain(path, mode), content)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_gets_its_content_and_mode_and_leaves_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/deep/app.conf");
    assert_eq!(write(&path, b"one", Some(0o440)).unwrap(), Written::Created);
    assert_eq!(fs::read(&path).unwrap(), b"one");
    assert_eq!(mode(&path), 0o440);
    assert_eq!(
        names(path.parent().unwrap()),
        ["app.conf"],
        "a temporary file was left"
    );
    assert_eq!(write(&path, b"two", Some(0o440)).unwrap(), Written::Changed);
}

#[test]
fn the_same_bytes_are_not_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.conf");
    write(&path, b"one", None).unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    assert_eq!(write(&path, b"one", None).unwrap(), Written::Unchanged);
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode, "the file was replaced");
    assert_eq!(
        write(&path, b"one", Some(0o600)).unwrap(),
        Written::Changed,
        "a new mode is a change"
    );
    assert_eq!(
        write(&path, b"two", Some(0o600)).unwrap(),
        Written::Changed,
        "as many bytes, but others"
    );
}

#[test]
fn without_a_mode_that_of_the_file_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.conf");
    write(&path, b"one", None).unwrap();
    assert_eq!(mode(&path), 0o644, "the default");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    write(&path, b"two", None).unwrap();
    assert_eq!(mode(&path), 0o600, "the mode somebody chose");
}

#[test]
fn a_failed_write_keeps_the_old_file_and_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.conf");
    write(&path, b"one", None).unwrap();
    // A folder stands where the temporary file would: root, too, is stopped by it.
    fs::create_dir(folder.path().join(".app.conf.vaultkeeper")).unwrap();
    let error = write(&path, b"two", None)
        .expect_err("the write must fail")
        .to_string();
    assert!(error.contains("app.conf"), "the file is not named: {error}");
    assert_eq!(fs::read(&path).unwrap(), b"one", "the last good file must stay");
}

#[test]
fn a_leftover_of_a_crash_is_replaced_and_a_planted_symlink_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, victim) = (folder.path().join("app.conf"), folder.path().join("victim"));
    fs::write(&victim, b"precious").unwrap();
    symlink(&victim, folder.path().join(".app.conf.vaultkeeper")).unwrap();
    write(&path, b"one", None).unwrap();
    assert_eq!(
        fs::read(&victim).unwrap(),
        b"precious",
        "the symlink was followed"
    );
    assert_eq!(fs::read(&path).unwrap(), b"one");
}

#[test]
fn a_symlink_in_the_place_of_the_file_is_replaced_even_when_it_leads_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let (path, victim) = (folder.path().join("app.conf"), folder.path().join("victim"));
    fs::write(&victim, b"one").unwrap();
    symlink(&victim, &path).unwrap();
    assert_eq!(
        write(&path, b"one", None).unwrap(),
        Written::Created,
        "a link is not the file"
    );
    assert!(
        fs::symlink_metadata(&path).unwrap().is_file(),
        "the link must be gone"
    );
    write(&path, b"two", None).unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"one", "the symlink was followed");
}

#[test]
fn a_symlink_on_the_way_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let (elsewhere, link) = (folder.path().join("elsewhere"), folder.path().join("link"));
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, &link).unwrap();
    for path in [link.join("app.conf"), link.join("deeper/app.conf")] {
        let error = write(&path, b"one", None)
            .expect_err("a link must be refused")
            .to_string();
        assert!(
            error.contains("/link:") && error.contains("symbolic link"),
            "the link is not named: {error}"
        );
    }
    assert_eq!(
        names(&elsewhere),
        Vec::<String>::new(),
        "something was written through the link"
    );
}

#[test]
fn a_pipe_or_a_folder_in_the_place_of_the_file_does_not_hang_or_vanish() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    rustix::fs::mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
    assert_eq!(
        write(&pipe, b"", None).unwrap(),
        Written::Created,
        "a pipe is replaced without being opened"
    );
    let there = folder.path().join("folder");
    fs::create_dir(&there).unwrap();
    write(&there, b"one", None).expect_err("a folder is never replaced");
    assert!(there.is_dir(), "the folder must stay");
    assert_eq!(
        names(folder.path()),
        ["folder", "pipe"],
        "a temporary file was left"
    );
}

#[test]
fn folders_are_made_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/app.conf");
    let target = Target {
        create_folders: false,
        ..Target::plain(&path, None)
    };
    let error = atomically(&target, b"one")
        .expect_err("the folder is missing")
        .to_string();
    assert!(
        error.contains("open the folder") && error.ends_with("/new"),
        "the folder is not named: {error}"
    );
    assert!(!path.parent().unwrap().exists(), "a folder was made");
}

#[test]
fn a_backup_holds_the_content_before_with_its_mode() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.conf");
    let target = Target {
        backup: true,
        ..Target::plain(&path, Some(0o400))
    };
    atomically(&target, b"one").unwrap();
    assert_eq!(names(folder.path()), ["app.conf"], "nothing to keep yet");
    for (content, before) in [(b"two", b"one"), (b"six", b"two")] {
        atomically(&target, content).unwrap();
        let backup = folder.path().join("app.conf.bak");
        assert_eq!(fs::read(&backup).unwrap(), before, "the content before");
        assert_eq!(mode(&backup), 0o400, "its mode");
    }
    assert_eq!(names(folder.path()), ["app.conf", "app.conf.bak"]);
}

#[test]
fn an_owner_is_set_or_the_write_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.conf");
    let uid = rustix::process::getuid().as_raw();
    let own = config::Owner::Id(uid);
    let stranger = config::Owner::Id(12345);
    let target = |user| Target {
        owner: Owner {
            user: Some(user),
            group: None,
        },
        ..Target::plain(&path, None)
    };
    atomically(&target(&own), b"one").unwrap();
    assert_eq!(
        atomically(&target(&own), b"one").unwrap(),
        Written::Unchanged,
        "the owner is right"
    );
    let result = atomically(&target(&stranger), b"one");
    if uid == 0 {
        assert_eq!(result.unwrap(), Written::Changed, "a new owner is a change");
        assert_eq!(fs::metadata(&path).unwrap().uid(), 12345);
        write(&path, b"two", None).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().uid(),
            12345,
            "the owner before stays"
        );
    } else {
        result.expect_err("only root gives files away");
        assert_eq!(
            fs::metadata(&path).unwrap().uid(),
            uid,
            "the last good file must stay"
        );
    }
}
