//! Settings: flag, environment, profile, default; and where the token is found.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Bench, TOKEN};

/// A line of `config show`, its blanks as one.
fn shown(bench: &Bench, args: &[&str], setting: &str) -> String {
    let output = bench.run(&[&["config", "show"], args].concat()).code(0);
    let line = output.stdout.lines().find(|line| line.split(' ').next() == Some(setting));
    line.unwrap_or_else(|| panic!("{setting} is missing:\n{}", output.stdout))
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

fn with_config(bench: &Bench, text: &str) {
    bench.file("config.toml", text);
}

#[test]
fn a_flag_counts_before_a_variable_that_before_a_profile_that_before_the_default() {
    let bench = Bench::new();
    assert_eq!(shown(&bench, &[], "patience"), "patience 10m default");
    with_config(&bench, "default_profile = 'a'\n[profile.a]\npatience = '3m'\n");
    let bench = bench.set("DESKLOAD_CONFIG", "config.toml");
    assert_eq!(shown(&bench, &[], "patience"), "patience 3m config.toml, line 3");
    let bench = bench.set("DESKLOAD_PATIENCE", "4m");
    assert_eq!(shown(&bench, &[], "patience"), "patience 4m DESKLOAD_PATIENCE");
    assert_eq!(shown(&bench, &["--patience", "5m"], "patience"), "patience 5m --patience");
}

#[test]
fn a_run_does_as_its_profile_says() {
    let bench = Bench::new();
    with_config(
        &bench,
        "[profile.a]\nmap = { ticket_id = 'Case' }\nset = { priority = 'high' }\nstrict = true\n",
    );
    bench.file("rows.csv", "Case\n7\n8\n");
    bench.run(&["run", "--yes", "--config", "config.toml", "--profile", "a", "rows.csv"]).code(0);
    assert_eq!(bench.judge().applied, 2);
    // Without the profile the column means nothing.
    bench.run(&["run", "--yes", "--again", "rows.csv"]).code(6);
    bench.file("bad.csv", "Case\n7\nx\n");
    bench.run(&["run", "--yes", "--config", "config.toml", "--profile", "a", "bad.csv"]).code(6);
}

#[test]
fn no_file_of_the_current_folder_is_read() {
    let bench = Bench::new();
    with_config(&bench, "this is no configuration");
    assert_eq!(shown(&bench, &[], "patience"), "patience 10m default");
    bench.run(&["config", "show", "--config", "config.toml"]).code(2);
}

#[test]
fn what_init_writes_works_with_the_sandbox_at_once() {
    let bench = Bench::new();
    let written = bench.run(&["init"]).code(0).stdout.trim().to_owned();
    assert_eq!(bench.run(&["config", "path"]).code(0).stdout.trim(), written);
    for path in [written.clone(), written.replace("config.toml", "sandbox.token")] {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{path}");
    }
    bench.run(&["init"]).code(2).says("there already");
    let bench = bench.unset("DESKLOAD_TOKEN");
    let token = written.replace("config.toml", "sandbox.token");
    assert_eq!(shown(&bench, &[], "token"), format!("token in {token} profile"));
    assert_eq!(fs::read_to_string(&token).unwrap(), "sandbox-token\n");
    // The bench's desk has a token of its own; its address and account come from the environment.
    fs::write(&token, TOKEN).unwrap();
    bench.file("rows.csv", "ticket_id,priority\n7,high\n");
    bench.run(&["run", "--yes", "rows.csv"]).code(0);
    assert_eq!(bench.judge().applied, 1);
}

#[test]
fn systemd_s_credential_counts_before_the_profile_and_after_the_environment() {
    let bench = Bench::new();
    let credentials = bench.dir().join("credentials");
    fs::create_dir(&credentials).unwrap();
    bench.file("credentials/deskload-token", TOKEN);
    // systemd grants the service's user by an access list, which shows as rights of the group.
    fs::set_permissions(credentials.join("deskload-token"), fs::Permissions::from_mode(0o440)).unwrap();
    with_config(&bench, "[profile.a]\ntoken_file = '/nowhere'\n");
    let bench = bench.set("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap());
    assert_eq!(shown(&bench, &[], "token"), "token set DESKLOAD_TOKEN");
    let bench = bench.unset("DESKLOAD_TOKEN");
    bench.file("rows.csv", "ticket_id,priority\n7,high\n");
    bench.run(&["run", "--yes", "--config", "config.toml", "--profile", "a", "rows.csv"]).code(0);
    assert_eq!(bench.judge().applied, 1);
}

#[test]
fn what_the_desk_s_words_mean_can_be_said() {
    use deskload::sandbox::{Fate, Reply, When};
    let error = r#"{"status":"error","description":"Too many calls"}"#;
    let bench = Bench::scripted([Fate::new(When::Request(1), Reply::json(200, error))]);
    with_config(&bench, "[profile.a]\n[[profile.a.reply]]\ntext = 'too many'\nverdict = 'throttled'\n");
    bench.file("rows.csv", "ticket_id,priority\n7,high\n");
    bench.run(&["run", "--yes", "--config", "config.toml", "--profile", "a", "rows.csv"]).code(0);
    assert_eq!((bench.judge().applied, bench.judge().requests), (1, 2));
}
