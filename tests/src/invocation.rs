//! How a person calls this program again.

use std::path::{Path, PathBuf};

/// This program as a person types it in the folder that the person is in.
pub fn of_this_program() -> String {
    match (std::env::current_exe(), std::env::current_dir()) {
        (Ok(program), Ok(folder)) => from(&folder, &program),
        // Its name is all that is known.
        _ => "testbed".to_owned(),
    }
}

/// The shortest path from the folder that a shell does not look up in PATH.
fn from(folder: &Path, program: &Path) -> String {
    // What Linux says of a program whose file was replaced since its start.
    let text = program.to_string_lossy();
    let program = PathBuf::from(text.strip_suffix(" (deleted)").unwrap_or(&text));
    match program.strip_prefix(folder) {
        Ok(below) if below.components().count() == 1 => format!("./{}", below.display()),
        Ok(below) => below.display().to_string(),
        Err(_) => program.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_named_so_that_a_shell_in_the_folder_finds_it() {
        for (program, expected) in [
            ("/src/target/debug/testbed", "target/debug/testbed"),
            ("/src/testbed", "./testbed"),
            ("/var/build/debug/testbed", "/var/build/debug/testbed"),
            ("/src/target/debug/testbed (deleted)", "target/debug/testbed"),
        ] {
            assert_eq!(
                from(Path::new("/src"), Path::new(program)),
                expected,
                "{program} seen from /src"
            );
        }
    }
}
