//! A test for each row of the design's table, and for what lies between the rows.

use super::*;

const SUCCESS: &str = r#"{"status":"success","ticket_id":"00700"}"#;

fn reply(status: u16, body: &str) -> Reply {
    Reply { status, wait: WaitHeaders::default(), body: Body::Whole(body.as_bytes().to_vec()) }
}

fn judge(came: &Result<Reply, Trouble>) -> Verdict {
    read(came, TicketId::parse("700").unwrap(), &Rules::default(), SystemTime::UNIX_EPOCH)
        .tidied(crate::text::clean)
}

fn of(status: u16, body: &str) -> Verdict {
    judge(&Ok(reply(status, body)))
}

fn after(status: u16, retry_after: &str) -> Verdict {
    let mut reply = reply(status, "");
    reply.wait.retry_after.push(retry_after.to_owned());
    judge(&Ok(reply))
}

fn in_doubt(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::InDoubt { lost: false, .. })
}

fn lost(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::InDoubt { lost: true, .. })
}

#[test]
fn without_a_connection_nothing_was_sent() {
    let verdict = judge(&Err(Trouble::NotConnected("connection refused".into())));
    assert!(matches!(verdict, Verdict::NotSent { away: true, note } if note.message == "connection refused"));
}

#[test]
fn a_bad_certificate_stops() {
    assert!(matches!(judge(&Err(Trouble::Certificate("expired".into()))), Verdict::Certificate(_)));
}

#[test]
fn a_429_pauses_with_or_without_a_time() {
    assert!(matches!(of(429, ""), Verdict::Throttled(None, _)));
    assert!(matches!(after(429, "junk"), Verdict::Throttled(None, _)));
    assert!(matches!(after(429, "7"), Verdict::Throttled(Some(wait), _) if wait.as_secs() == 7));
}

#[test]
fn a_503_pauses_only_with_a_retry_after_that_can_be_read() {
    assert!(matches!(after(503, "7"), Verdict::Throttled(Some(_), _)));
    assert!(in_doubt(&after(503, "soon")));
    assert!(in_doubt(&of(503, "")));
    let mut throttled = reply(503, "");
    throttled.wait.ratelimit_reset.push("30".to_owned());
    assert!(in_doubt(&judge(&Ok(throttled))), "only Retry-After belongs to 503");
}

#[test]
fn a_desk_whose_503_proves_nothing_can_be_told_so() {
    let mut throttled = reply(503, "");
    throttled.wait.retry_after.push("7".to_owned());
    let rules = Rules { trust_503: false, ..Rules::default() };
    let ticket = TicketId::parse("700").unwrap();
    assert!(in_doubt(&read(&Ok(throttled), ticket, &rules, SystemTime::UNIX_EPOCH)));
}

#[test]
fn the_documented_success_is_applied() {
    assert_eq!(of(200, SUCCESS), Verdict::Applied);
    assert_eq!(of(201, r#"{"ticket_id":700,"status":"success","more":[1]}"#), Verdict::Applied);
}

#[test]
fn a_list_of_the_right_words_is_not_the_documented_success() {
    for list in [r#"["success","700"]"#, r#" ["success","700",null]"#] {
        assert!(in_doubt(&of(200, list)), "{list}");
    }
    assert!(
        matches!(of(404, r#"["success","700"]"#), Verdict::Failed(note) if note.reason == Reason::Rejected)
    );
    assert_eq!(of(200, &format!("\r\n\t {SUCCESS}")), Verdict::Applied, "blanks before it are JSON's own");
}

#[test]
fn a_success_for_another_ticket_is_in_doubt() {
    for other in [
        r#"{"status":"success","ticket_id":"00701"}"#,
        r#"{"status":"success","ticket_id":""}"#,
        r#"{"status":"success","ticket_id":-700}"#,
        r#"{"status":"success","ticket_id":null}"#,
        r#"{"status":"success"}"#,
    ] {
        assert!(in_doubt(&of(200, other)), "{other}");
    }
    let rules = Rules { check_reply_id: false, ..Rules::default() };
    let came = Ok(reply(200, r#"{"status":"success"}"#));
    let ticket = TicketId::parse("700").unwrap();
    assert_eq!(read(&came, ticket, &rules, SystemTime::UNIX_EPOCH), Verdict::Applied);
}

#[test]
fn an_error_in_a_2xx_or_4xx_is_failed_with_the_desks_words() {
    for status in [200, 202, 404, 418, 499] {
        let verdict = of(status, "{\"status\":\"error\",\"description\":\"No such\\n ticket\"}");
        assert!(
            matches!(&verdict, Verdict::Failed(note)
                if note.message == "No such ticket" && note.reason == Reason::Refused
                    && note.http_status == Some(status)),
            "{verdict:?}"
        );
    }
    assert!(matches!(of(200, r#"{"status":"error","description":{"code":7}}"#),
        Verdict::Failed(note) if note.message == r#"{"code":7}"#));
    assert!(in_doubt(&of(500, r#"{"status":"error","description":"oops"}"#)));
}

#[test]
fn the_list_of_refusals_is_failed_whatever_the_body() {
    for status in [400, 404, 405, 409, 410, 413, 415, 422] {
        assert!(
            matches!(of(status, "<html>"), Verdict::Failed(note) if note.reason == Reason::Rejected),
            "{status}"
        );
    }
    for status in [402, 406, 411, 418, 425, 451] {
        assert!(in_doubt(&of(status, "")), "{status} is on no list");
    }
}

#[test]
fn a_refusal_that_says_success_is_in_doubt() {
    assert!(in_doubt(&of(400, SUCCESS)));
}

#[test]
fn the_authentication_text_stops_in_any_status() {
    let body = format!(r#"{{"status":"error","description":" {} "}}"#, AUTHENTICATION_TEXT.to_uppercase());
    for status in [200, 302, 400, 401, 403, 408, 422, 500] {
        assert!(matches!(of(status, &body), Verdict::Credentials(_)), "{status}");
    }
    assert!(matches!(of(429, &body), Verdict::Throttled(..)), "throttling is read first");
    let success =
        format!(r#"{{"status":"success","ticket_id":"700","description":"{AUTHENTICATION_TEXT}"}}"#);
    assert_eq!(of(200, &success), Verdict::Applied, "a text that the desk quotes is no refusal");
}

#[test]
fn a_401_or_403_is_for_the_breaker_to_weigh() {
    assert!(matches!(of(401, ""), Verdict::Forbidden(_)));
    assert!(matches!(of(403, SUCCESS), Verdict::Forbidden(_)));
}

#[test]
fn a_redirect_is_for_the_breaker_to_weigh() {
    for status in [300, 301, 302, 303, 304, 307, 308, 399] {
        assert!(matches!(of(status, SUCCESS), Verdict::Redirected(_)), "{status}");
    }
}

#[test]
fn what_does_not_tell_is_in_doubt() {
    for status in [408, 500, 501, 502, 504, 100, 600] {
        assert!(in_doubt(&of(status, "")), "{status}");
    }
    assert!(in_doubt(&of(500, SUCCESS)), "a success in a 500 is not believed");
    for body in [
        "",
        "<html>Please sign in</html>",
        "{\"status\":\"success\",\"ticket_id\":\"0070",
        r#"{"status":"success","status":"error","ticket_id":"700"}"#,
        r#"{"status":"success","ticket_id":"700","ticket_id":"701"}"#,
        r#"{"status":"Success","ticket_id":"700"}"#,
        r#"{"status":true,"ticket_id":"700"}"#,
        r#"["success"]"#,
    ] {
        assert!(in_doubt(&of(200, body)), "{body}");
    }
    let large = Reply { body: Body::TooLarge, ..reply(200, "") };
    assert!(in_doubt(&judge(&Ok(large))));
}

#[test]
fn a_408_proves_nothing_whatever_its_body() {
    for body in ["", SUCCESS, r#"{"status":"error","description":"No such ticket"}"#] {
        let verdict = of(408, body);
        assert!(in_doubt(&verdict) && verdict.note().unwrap().reason == Reason::ServerError, "{verdict:?}");
    }
}

#[test]
fn a_connection_that_breaks_behind_a_status_was_lost_whatever_its_trouble_calls_itself() {
    for trouble in [Trouble::NotConnected("x".into()), Trouble::Certificate("x".into())] {
        let half = Reply { body: Body::CutShort(trouble), ..reply(200, "") };
        let verdict = judge(&Ok(half));
        assert!(lost(&verdict) && verdict.note().unwrap().reason == Reason::ConnectionLost, "{verdict:?}");
    }
}

#[test]
fn each_verdict_has_a_word_of_its_own_for_the_log_and_all_but_one_a_note() {
    let lost = judge(&Err(Trouble::Timeout));
    let certificate = judge(&Err(Trouble::Certificate("expired".into())));
    let not_sent = judge(&Err(Trouble::NotConnected("refused".into())));
    let authentication = format!(r#"{{"status":"error","description":"{AUTHENTICATION_TEXT}"}}"#);
    let answered =
        [(200, SUCCESS), (404, ""), (429, ""), (401, authentication.as_str()), (403, ""), (302, "")];
    let verdicts: Vec<Verdict> = answered
        .iter()
        .map(|(status, body)| of(*status, body))
        .chain([lost, certificate, not_sent])
        .collect();
    let words: Vec<&str> = verdicts.iter().map(Verdict::as_str).collect();
    assert_eq!(
        words,
        [
            "applied",
            "failed",
            "throttled",
            "credentials refused",
            "forbidden",
            "redirected",
            "in doubt",
            "certificate not valid",
            "not sent"
        ]
    );
    assert!(verdicts.iter().all(|verdict| verdict.note().is_none() == (*verdict == Verdict::Applied)));
}

#[test]
fn an_answer_that_is_lost_is_in_doubt() {
    assert!(lost(&judge(&Err(Trouble::Timeout))));
    assert!(lost(&judge(&Err(Trouble::Broken("reset".into())))));
    for trouble in [Trouble::Timeout, Trouble::Broken("reset".into()), Trouble::NotConnected("x".into())] {
        let half = Reply { body: Body::CutShort(trouble), ..reply(200, "") };
        assert!(lost(&judge(&Ok(half))));
    }
}

#[test]
fn a_half_body_does_not_undo_what_the_status_says() {
    let half = |status| Reply { body: Body::CutShort(Trouble::Timeout), ..reply(status, "") };
    assert!(matches!(judge(&Ok(half(404))), Verdict::Failed(_)));
    assert!(matches!(judge(&Ok(half(429))), Verdict::Throttled(..)));
    assert!(in_doubt(&judge(&Ok(half(500)))));
}

#[test]
fn what_a_person_says_of_the_desk_s_words_counts_but_never_against_a_success() {
    let rule = |text: &str, meaning| ReplyRule { text: text.to_owned(), meaning };
    let rules = Rules {
        replies: vec![
            rule("Too Many", Meaning::Throttled),
            rule("locked", Meaning::Failed),
            rule("expired", Meaning::Credentials),
            rule("<html>", Meaning::InDoubt),
        ],
        ..Rules::default()
    };
    let judge = |status, body: &str| {
        let came = Ok(reply(status, body));
        read(&came, TicketId::parse("700").unwrap(), &rules, SystemTime::UNIX_EPOCH)
    };
    let error = |words: &str| format!(r#"{{"status":"error","description":"{words}"}}"#);
    assert!(matches!(judge(200, &error("too many calls")), Verdict::Throttled(None, _)));
    assert!(matches!(judge(500, "TOO MANY, try later"), Verdict::Throttled(None, _)));
    assert!(matches!(judge(500, &error("ticket is locked")), Verdict::Failed(_)));
    assert!(matches!(judge(403, &error("token expired")), Verdict::Credentials(_)));
    assert!(matches!(judge(404, "<HTML>"), Verdict::InDoubt { lost: false, .. }));
    assert!(matches!(judge(302, "too many"), Verdict::Redirected(_)));
    assert_eq!(
        judge(200, r#"{"status":"success","ticket_id":"700","description":"locked"}"#),
        Verdict::Applied
    );
    assert!(in_doubt(&judge(200, r#"{"status":"success","ticket_id":"8","description":"too many"}"#)));
    assert!(matches!(judge(404, &error("no such ticket")), Verdict::Failed(_)));
}
