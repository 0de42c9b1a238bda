//! Counting, shapes and places.

use super::pointer::cell;
use super::shapes::{Kind, Shapes, shape_into};
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
    tally.add(staff("nobody").iter(), many + 1);
    let warnings = tally.warnings();
    let (_, counts) = tally.fields().next().unwrap();
    assert_eq!((counts.rows, counts.distinct(), counts.others), (many + 2, VALUES_MAX, 51));
    assert_eq!(counts.by_frequency()[0].1.rows, 2);
    // An id that came too late for the table is looked at all the same.
    assert!(matches!(&warnings[..], [one] if one.contains("\"nobody\" (1 row")), "{warnings:?}");
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

fn warnings(kind: Kind, ids: &[(&str, u64)]) -> Vec<String> {
    let mut shapes = Shapes::new(kind);
    for ((id, rows), line) in ids.iter().zip(2..) {
        shapes.add(id, *rows, line);
    }
    shapes.warnings()
}

#[test]
fn a_shape_is_letters_and_digits_by_their_kind() {
    let mut shape = String::new();
    shape_into("ST007-009", &mut shape);
    assert_eq!(shape, "AA999-999");
    shape_into("é.Ž@x1", &mut shape);
    assert_eq!(shape, "a.A@a9");
}

#[test]
fn an_id_unlike_the_others_is_told_with_its_line() {
    let told =
        warnings(Kind::Staff, &[("ST007-009", 20), ("ST007-014", 9), ("ST7-9", 2), ("Amelia Hart", 1)]);
    let [short, name] = &told[..] else { panic!("{told:?}") };
    assert!(short.starts_with("staff \"ST7-9\" (2 rows of this shape, the first on line 4)"), "{short}");
    assert!(name.contains("\"Amelia Hart\" (1 row of this shape, the first on line 5)"), "{name}");
    // As many of one shape as of the other: nobody can say which is odd.
    assert_eq!(warnings(Kind::Staff, &[("ST7-9", 5), ("ST007-014", 6)]), [""; 0]);
    // One that is like the vendor's and one that is not.
    assert_eq!(warnings(Kind::Inbox, &[("IB238-436", 2), ("Sales", 1)]).len(), 1);
    assert_eq!(warnings(Kind::CustomField, &[("CF007-07", 1), ("CF007-08", 1)]), [""; 0]);
    assert_eq!(warnings(Kind::Staff, &[]), [""; 0]);
}

#[test]
fn ids_that_are_none_are_told_once() {
    let told = warnings(Kind::Staff, &[("amelia@example.com", 3), ("b@example.com", 7), ("c", 1)]);
    let [one] = &told[..] else { panic!("{told:?}") };
    assert!(one.contains("no staff id looks like the one that the vendor shows, ST007-009"), "{one}");
}

#[test]
fn many_odd_shapes_are_counted() {
    let odd: Vec<String> = (1..=9).map(|length| "x".repeat(length)).collect();
    let mut ids: Vec<(&str, u64)> = odd.iter().map(|id| (id.as_str(), 1)).collect();
    ids.push(("ST007-009", 100));
    let told = warnings(Kind::Staff, &ids);
    assert_eq!(told.len(), 6);
    assert_eq!(told[5], "staff: 4 more shapes are unlike the others");
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
