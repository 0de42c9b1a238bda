//! What the first reading promises: every row once, in its order, with what it asks for or why it cannot be sent.

use super::*;
use crate::mapping::{Complaint, Mapping, MappingSpec};

fn lines(count: u64, line: fn(u64) -> String) -> String {
    (1..=count).map(line).collect()
}

fn look(text: &str, layout: Layout, strict: bool) -> (Result<Survey, Error>, Vec<Invalid>) {
    let file = file(text);
    let mut records = Records::open(file.path(), &layout).unwrap();
    let mapping = Mapping::resolve(&MappingSpec::default(), records.header()).unwrap();
    let mut invalid = Vec::new();
    let survey = survey(&mut records, &mapping, strict, &mut |seen| {
        invalid.extend(seen.result.err().cloned());
        Ok(())
    });
    (survey, invalid)
}

#[test]
fn the_survey_counts_rows_and_tells_each_invalid_one() {
    let text = "ticket_id,priority,custom_fields.B,custom_fields.A\n\
                1,high,,x\n01,HIGH,,x\n2,urgent,,\n\n3,low,y,\n1,high,,x\n";
    let (survey, invalid) = look(text, CSV, false);
    let survey = survey.unwrap();
    assert_eq!((survey.rows, survey.invalid, survey.identical), (5, 1, 2));
    assert_eq!(survey.custom_fields, ["A", "B"]);
    assert_eq!(survey.marks, [Mark { row: 1, byte: 51, line: 2 }]);
    assert_eq!((invalid[0].row, invalid[0].line), (3, 4));
    assert!(invalid[0].message.starts_with("line 4, column 2 (priority): "), "{}", invalid[0].message);
}

#[test]
fn marks_are_1024_rows_apart_and_lead_to_their_rows() {
    let rows = lines(3_000, |id| format!("{id},low\n"));
    let text = format!("ticket_id,priority\n{rows}");
    let survey = look(&text, CSV, false).0.unwrap();
    assert_eq!(survey.marks.iter().map(|mark| mark.row).collect::<Vec<_>>(), [1, 1_025, 2_049]);
    let file = file(&text);
    let mut records = Records::open(file.path(), &CSV).unwrap();
    for mark in survey.marks {
        let mut record = Record::new();
        records.seek(&mark).unwrap();
        assert!(records.next(&mut record).unwrap());
        assert_eq!(record.mark(), mark);
        assert!(matches!(record.body(), Body::Csv(cells) if cells[0] == *mark.row.to_string().as_bytes()));
    }
}

#[test]
fn strict_reads_everything_and_then_names_the_first_invalid_rows() {
    let rows = lines(9, |id| format!("{id},urgent\n"));
    let (survey, invalid) = look(&format!("ticket_id,priority\n{rows}"), CSV, true);
    let message = unusable(survey);
    assert!(message.starts_with("9 of 9 rows") && message.contains("line 6, column 2"), "{message}");
    assert!(message.ends_with("and 4 more"), "{message}");
    assert_eq!(invalid.len(), 9);
    assert!(look("ticket_id,priority\n1,low\n", CSV, true).0.is_ok());
}

#[test]
fn a_key_that_means_nothing_makes_the_jsonl_unusable_and_a_broken_line_does_not() {
    let (survey, invalid) = look("{\"ticket_id\":1,\"name\":\"a\"}\n{\"ticket_id\n", JSONL, false);
    assert_eq!((survey.unwrap().invalid, invalid[0].line), (1, 2));
    let message = unusable(look("\n{\"ticket_id\":1,\"prio\":\"low\"}\n", JSONL, false).0);
    assert!(message.starts_with("line 2, key \"prio\": "), "{message}");
    assert!(message.contains("did you mean priority?"), "{message}");
}

#[test]
fn what_ends_the_input_is_told_after_every_row_before_it() {
    let rows = lines(9_000, |id| format!("{id},{}\n", if id == 4_321 { "urgent" } else { "low" }));
    let text = format!("ticket_id,priority\n{rows}1,\"low\n");
    let file = file(text);
    let mut records = Records::open(file.path(), &CSV).unwrap();
    let mapping = Mapping::resolve(&MappingSpec::default(), records.header()).unwrap();
    let mut seen = Vec::new();
    let survey = survey(&mut records, &mapping, false, &mut |row| {
        seen.push((row.row.number(), row.row.line(), row.result.map(|asks| asks.ticket().get()).ok()));
        Ok(())
    });
    assert!(unusable(survey).starts_with("line 9002, column 2: a quote opens here"));
    let expected = (1..=9_000).map(|row| (row, row + 1, (row != 4_321).then_some(row)));
    assert!(seen.into_iter().eq(expected));
}

#[test]
fn a_row_asks_for_the_same_whether_it_is_looked_at_or_sent() {
    let csv: &[u8] = b"ticket_id,subject,email,custom_fields.A,custom_fields\n\
        1,x, a@b.c ,y,\"[{\"\"id\"\":\"\"B\"\",\"\"value\"\":1}]\"\n2,\xC3,\xA9@b.c,z,\n3, ,,,\n4,a\0b,,,\n\
        5,#N/A,,,\n6,#7,\xC3\xA9,\xFF,\n 07 ,,,\xC2\xA0,\n8,,,y,\"[{\"\"id\"\":\"\"a\"\",\"\"value\"\":\"\"\\u00e9\"\"}]\"\n9,1\n";
    let jsonl: &[u8] = b"{\"subject\":\"\\u00e9\",\"custom_fields.A\":\"x\",\"ticket_id\":1,\"email\":\" e \"}\n\
        {\"ticket_id\":\"2\",\"custom_fields\":\"[{\\\"id\\\":\\\"B\\\",\\\"value\\\":[1]}]\",\"name\":\"n\"}\n\
        {\"ticket_id\":3,\"name\":true}\n{\"ticket_id\":4,\"name\":\"\\ud800\"}\n{\"ticket_id\":5}\n";
    for (text, layout) in [(csv, CSV), (jsonl, JSONL)] {
        let file = file(text);
        let mut records = Records::open(file.path(), &layout).unwrap();
        let mapping = Mapping::resolve(&MappingSpec::default(), records.header()).unwrap();
        let mut looked = Vec::new();
        survey(&mut records, &mapping, false, &mut |seen| {
            looked.push(
                seen.result.map(|asks| asks.update().unwrap()).map_err(|invalid| invalid.message.clone()),
            );
            Ok(())
        })
        .unwrap();
        let mut records = Records::open(file.path(), &layout).unwrap();
        let (mut sent, mut record) = (Vec::new(), Record::new());
        while records.next(&mut record).unwrap() {
            sent.push(match mapping.update(&record) {
                Ok(mapped) => Ok(mapped.update),
                Err(Complaint::Row(trouble)) => Err(trouble.to_string()),
                Err(Complaint::Input(error)) => panic!("{error}"),
            });
        }
        assert_eq!(looked, sent);
        assert!(sent.iter().any(Result::is_ok) && sent.iter().any(Result::is_err));
    }
}

#[test]
fn an_error_of_the_listener_ends_the_survey() {
    // Longer than what is read ahead: the reader waits when it ends.
    let rows = lines(200_000, |id| format!("{id},low\n"));
    let file = file(format!("ticket_id,priority\nx,low\n{rows}"));
    let mut records = Records::open(file.path(), &CSV).unwrap();
    let mapping = Mapping::resolve(&MappingSpec::default(), records.header()).unwrap();
    let stop = survey(&mut records, &mapping, false, &mut |_| Err(Error::Machine("journal".to_owned())));
    assert!(matches!(stop, Err(Error::Machine(_))));
}

#[test]
#[ignore = "a measurement: cargo test --release --lib a_million -- --ignored --nocapture"]
fn a_million_rows_are_surveyed_in_about_a_second() {
    let rows = lines(1_000_000, |id| {
        format!("{id},agent{}@example.com,high,\"Order, {id}\",ST007-009,Micro\n", id % 97)
    });
    let text = format!("ticket_id,email,priority,subject,staff,custom_fields.CF007-07\n{rows}");
    measure(&text, CSV);
    let text = lines(1_000_000, |id| {
        let row = r#""priority":"high","custom_fields":[{"id":"CF007-07","value":"Micro"}]"#;
        format!(
            "{{\"ticket_id\":{id},\"email\":\"a{}@example.com\",\"subject\":\"Order, {id}\",{row}}}\n",
            id % 97
        )
    });
    measure(&text, JSONL);
}

fn measure(text: &str, layout: Layout) {
    let file = file(text);
    let mut records = Records::open(file.path(), &layout).unwrap();
    let mapping = Mapping::resolve(&MappingSpec::default(), records.header()).unwrap();
    let start = std::time::Instant::now();
    let survey = survey(&mut records, &mapping, false, &mut |_| Ok(())).unwrap();
    println!("{:?}, {} bytes: {:?}", layout.format, text.len(), start.elapsed());
    assert_eq!((survey.rows, survey.invalid), (1_000_000, 0));
}
