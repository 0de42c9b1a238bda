//! Counting and places.

use super::pointer::cell;
use super::tally::{Tally, VALUES_MAX};
use super::tickets::{Counted, Tickets};
use crate::ticket::{Changes, CustomField, CustomValue, Field, TicketId};

fn staff(id: &str) -> Changes {
    Changes { staff: Some(id.to_owned()), ..Changes::default() }
}

#[test]
fn values_are_counted_the_most_frequent_first() {
    let mut tally = Tally::default();
    for (line, id) in (2..).zip(["ST007-009", "ST007-010", "ST007-010", "ST007-011"]) {
        tally.add(staff(id).iter(), line);
    }
    let fields: Vec<_> = tally.fields().collect();
    let [(field, counts)] = &fields[..] else { panic!("{fields:?}") };
    assert_eq!((*field, counts.rows, counts.others), (Field::Staff, 4, 0));
    let values: Vec<_> =
        counts.by_frequency().iter().map(|(value, count)| (*value, count.rows, count.first_line)).collect();
    assert_eq!(values, [("ST007-010", 2, 3), ("ST007-009", 1, 2), ("ST007-011", 1, 5)]);
}

#[test]
fn what_a_table_does_not_hold_is_counted_as_a_whole() {
    let mut tally = Tally::default();
    let many = VALUES_MAX as u64 + 50;
    for line in 0..many {
        tally.add(staff(&format!("ST{line:03}-001")).iter(), line);
    }
    tally.add(staff("ST000-001").iter(), many);
    let (_, counts) = tally.fields().next().unwrap();
    assert_eq!((counts.rows, counts.distinct(), counts.others), (many + 1, VALUES_MAX, 50));
    assert_eq!(counts.by_frequency()[0].1.rows, 2);
}

#[test]
fn a_long_text_is_not_kept() {
    let mut tally = Tally::default();
    tally.add(staff(&"x".repeat(100_000)).iter(), 2);
    let (_, counts) = tally.fields().next().unwrap();
    assert_eq!((counts.distinct(), counts.others), (0, 1));
}

#[test]
fn custom_fields_have_an_end_too() {
    let mut tally = Tally::default();
    for id in 0..150 {
        let field = CustomField { id: format!("CF007-{id}"), value: CustomValue::Text("a".into()) };
        tally.add(Changes { custom_fields: vec![field], ..Changes::default() }.iter(), 2);
    }
    assert_eq!((tally.fields().count(), tally.left_out), (100, 50));
}

#[test]
fn tickets_are_counted_with_their_rows() {
    let mut tickets = Tickets::default();
    for id in ["7", "8", "7", "9", "8", "7"] {
        tickets.add(TicketId::parse(id).unwrap());
    }
    let most = Some((TicketId::parse("7").unwrap(), 3));
    let expected = Counted { tickets: 3, with_several_rows: 2, most, is_complete: true };
    assert_eq!(tickets.counted(), expected);
    assert_eq!(Tickets::default().counted().most, None);
}

#[test]
fn beyond_the_first_million_rows_the_count_is_a_lower_bound() {
    let mut tickets = Tickets::default();
    let ticket = TicketId::parse("7").unwrap();
    for _ in 0..=1_000_000 {
        tickets.add(ticket);
    }
    let counted = tickets.counted();
    assert_eq!((counted.most, counted.is_complete), (Some((ticket, 1_000_000)), false));
}

#[test]
fn a_cell_is_found_behind_quotes_delimiters_and_line_breaks() {
    let at = |raw: &str, index| cell(raw.as_bytes(), b',', index).map(|span| raw[span].to_owned());
    let row = "1,\"a,\"\"b\"\",\r\nc\",,plain\"\",end\r\n9,x";
    let cells: Vec<_> = (0..6).map(|index| at(row, index)).collect();
    let expected = [Some("1"), Some("\"a,\"\"b\"\",\r\nc\""), Some(""), Some("plain\"\""), Some("end"), None];
    assert_eq!(cells, expected.map(|cell| cell.map(str::to_owned)));
    assert_eq!(at("\"\",\"\"\"x,\",b", 1), Some("\"\"\"x,\"".to_owned()));
    assert_eq!(at("1,2", 1), Some("2".to_owned()));
    assert_eq!(at("", 0), Some(String::new()));
}
