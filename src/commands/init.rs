//! `deskload init`: writes a commented configuration file that works with the sandbox at once.
//!
//! It never writes over a file. The sandbox's token is no secret, but it is kept as a real one should be: in a file
//! of its own, of mode 0600.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::cli::InitArgs;
use crate::commands::print;
use crate::config::usual_place;
use crate::error::Error;
use crate::folders;
use crate::sandbox::Options;
use crate::text::shell_word;
use crate::voice::say;

/// The port at which the written profile expects the sandbox.
const SANDBOX_PORT: u16 = 8008;

/// Runs it.
pub fn run(args: &InitArgs) -> Result<(), Error> {
    let path = args.config.clone().or_else(usual_place).ok_or_else(|| {
        Error::Usage("there is no home folder to put the file into; name one with --config".to_owned())
    })?;
    let path = std::path::absolute(&path).map_err(|error| Error::file("find", &path, &error))?;
    if path.exists() {
        return Err(Error::Usage(format!(
            "{} is there already, and is left as it is; name another file with --config",
            path.display()
        )));
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    folders::make(folder)?;
    let token_file = folder.join("sandbox.token");
    if !token_file.exists() {
        write_new(&token_file, &format!("{}\n", Options::default().token))?;
    }
    write_new(&path, &text(&token_file))?;
    print(&format!("{}\n", path.display()));
    say("it works with the sandbox at once: in one terminal");
    say(&format!("  deskload sandbox --port {SANDBOX_PORT}"));
    say("in another one");
    let usual = usual_place().is_some_and(|usual| usual == path);
    let named =
        if usual { String::new() } else { format!(" --config {}", shell_word(&path.to_string_lossy())) };
    say(&format!("  deskload run ROWS.csv{named}"));
    Ok(())
}

/// A file of mode 0600 with this text, whole or not at all.
fn write_new(path: &Path, text: &str) -> Result<(), Error> {
    let folder: PathBuf = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(&folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path).map_err(|error| error.error)
    };
    write().map(drop).map_err(|error| Error::file("write", path, &error))
}

fn text(token_file: &Path) -> String {
    let token_file = token_file.to_string_lossy().replace('\\', r"\\").replace('"', "\\\"");
    format!(
        r#"# deskload's configuration. A flag counts before a DESKLOAD_… variable, that before a profile, that before the
# default. `deskload config show` prints each setting and where its value comes from; the names are those of the
# flags of `deskload run`, with _ for -.

# The profile that counts where no --profile is given.
default_profile = "sandbox"

# A desk on this machine: `deskload sandbox --port {SANDBOX_PORT}` starts it.
[profile.sandbox]
url = "http://127.0.0.1:{SANDBOX_PORT}/app/api/v1/update/ticket/"
account_email = "you@example.com"
# The token itself never stands here. The file must be yours alone (chmod 600). Or: token_command = "pass show desk"
token_file = "{token_file}"
# Under `deskload sandbox --rate 20`, to see what a desk's limit does:
# rate = "20/s"

# The real one. Make it the default once a run with --limit or a small file has gone well.
# [profile.desk]
# account_email = "ops@your-company.com"
# token_file = "~/.config/deskload/desk.token"
#
# The desk documents no limit; without this, 1/s is the guess. Ask the vendor. Several hold at once: "5/s,100/min"
# rate = "2/s"
# concurrency = 4
#
# Columns of your files that have other names than the fields, columns to leave out, values for every row:
# map = {{ ticket_id = "Case", staff = "Assignee" }}
# ignore = ["Comment"]
# set = {{ inbox = "IB238-436" }}
#
# When to stop, where results go:
# max_failures = "5%"
# patience = "30m"
# report_dir = "/var/lib/deskload/reports"
#
# Whether a success has to name the ticket that was sent, and whether a 503 with Retry-After proves that nothing was
# applied. Change them if your desk is seen to behave otherwise.
# check_reply_id = true
# trust_503 = true
#
# What the desk's error texts mean is not documented. If you know one, say so: throttled, failed, credentials or
# in_doubt. No text can mean applied.
# [[profile.desk.reply]]
# text = "too many requests"
# verdict = "throttled"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_that_is_commented_out_would_be_understood() {
        let written = text(Path::new("/etc/deskload/sandbox.token"));
        let is_setting = |line: &str| line.contains(" = ") || line.starts_with('[');
        let lines = written.lines().map(|line| match line.strip_prefix("# ") {
            Some(rest) if is_setting(rest) && !rest.contains("Or:") => rest,
            _ => line,
        });
        let whole = lines.collect::<Vec<_>>().join("\n");
        assert!(
            whole.contains("\n[[profile.desk.reply]]\n") && whole.contains("\nrate = \"2/s\""),
            "{whole}"
        );
        let path = std::path::Path::new("/etc/deskload/config.toml");
        for profile in ["sandbox", "desk"] {
            crate::config::check_text(path, &whole, Some(profile)).unwrap();
        }
        crate::config::check_text(path, &written, Some("sandbox")).unwrap();
    }
}
