//! Columns become fields as they are named, mapped, set or left out.

use deskload::error::{EXIT_DONE, EXIT_INPUT, EXIT_USAGE};

use crate::support::Bench;

const EXPORT: &str = "No,Owner,Status,Notes\n7,ST007-009,open,hello\n";

#[test]
fn columns_of_other_names_are_mapped_set_and_left_out() {
    let bench = Bench::new();
    bench.file("rows.csv", EXPORT);
    let args = [
        "run",
        "rows.csv",
        "--map",
        "ticket_id=no",
        "--map",
        "staff=OWNER",
        "--ignore",
        "status",
        "--ignore",
        " notes ",
        "--set",
        "priority=High",
        "--set",
        "custom_fields.CF007-07=Micro",
    ];
    bench.run(&args).code(EXIT_DONE);
    let change =
        r#"{"staff":"ST007-009","priority":"high","custom_fields":[{"id":"CF007-07","value":"Micro"}]}"#;
    assert_eq!(bench.judge().order(7), [change.into()]);
}

#[test]
fn every_unknown_column_can_be_left_out_at_once() {
    let bench = Bench::new();
    bench.file("rows.csv", EXPORT);
    let args = ["run", "rows.csv", "--map", "ticket_id=No", "--map", "description=Notes", "--ignore-unknown"];
    bench.run(&args).code(EXIT_DONE);
    assert_eq!(bench.judge().order(7), [r#"{"description":"hello"}"#.into()]);
}

#[test]
fn the_environment_maps_too() {
    let bench =
        Bench::new().set("DESKLOAD_MAP", "ticket_id=No\nstaff=Owner").set("DESKLOAD_IGNORE_UNKNOWN", "true");
    bench.file("rows.csv", EXPORT);
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    assert_eq!(bench.judge().order(7), [r#"{"staff":"ST007-009"}"#.into()]);
}

#[test]
fn a_mapping_that_cannot_be_meant_is_refused() {
    let bench = Bench::new();
    bench.file("rows.csv", EXPORT);
    let refused = |args: &[&str], code, says: &str| {
        bench.run(&[&["run", "rows.csv"], args].concat()).code(code).says(says);
        assert_eq!(bench.desk().requests, 0);
    };
    refused(&["--map", "ticket_id=Nummer"], EXIT_INPUT, "there is no column \"nummer\"");
    refused(&["--map", "ticket=No"], EXIT_USAGE, "did you mean ticket_id?");
    refused(&["--map", "ticket_id"], EXIT_USAGE, "is not FIELD=COLUMN");
    refused(&["--map", "staff=a", "--map", "staff=b"], EXIT_USAGE, "names staff twice");
    refused(&["--set", "priority=urgent"], EXIT_USAGE, "--set priority");
    refused(&["--set", "ticket_id=7"], EXIT_USAGE, "cannot be set for every row");
    refused(&["--set", "staff="], EXIT_USAGE, "blank");
    let twice = ["--map", "ticket_id=No", "--map", "staff=Owner", "--set", "staff=a", "--ignore-unknown"];
    refused(&twice, EXIT_INPUT, "by --set");
}

#[test]
fn custom_fields_come_as_columns_or_as_json() {
    let bench = Bench::new();
    bench.file(
        "rows.csv",
        "ticket_id,custom_fields,custom_fields.CF2\n1,\"[{\"\"id\"\":\"\"CF1\"\",\"\"value\"\":12345678901234567890}]\",two\n2,,two\n",
    );
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    let judge = bench.judge();
    let both = r#"{"custom_fields":[{"id":"CF1","value":12345678901234567890},{"id":"CF2","value":"two"}]}"#;
    assert_eq!(judge.order(1), [both.into()]);
    assert_eq!(judge.order(2), [r#"{"custom_fields":[{"id":"CF2","value":"two"}]}"#.into()]);
}

#[test]
fn a_blank_cell_leaves_its_field_alone() {
    let bench = Bench::new();
    bench.file("rows.csv", "ticket_id,staff,subject\n7, ,kept\n");
    bench.run(&["run", "rows.csv"]).code(EXIT_DONE);
    assert_eq!(bench.judge().order(7), [r#"{"subject":"kept"}"#.into()]);
}
