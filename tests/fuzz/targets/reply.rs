//! What came back and what it means: `applied` is believed for one form alone, and no verdict tells the token.

use std::fmt;
use std::time::{Duration, SystemTime};

use deskload::desk::proprofs;
use deskload::desk::throttle::WaitHeaders;
use deskload::desk::verdict::{self, Body, Meaning, Reply, ReplyRule, Rules, Trouble, Verdict};
use deskload::secret::Token;
use deskload::ticket::TicketId;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

const TICKET: u64 = 1_001;

/// Such as desks hand out: no word of ours, and with what JSON, addresses and terminals spell in their own way.
const TOKENS: [&str; 2] = ["zQ7-x9Kb2", "k/\"é+9Z😀b"];

/// First line: the status, then letters. `c` the body was cut short, `l` it was too large, `r` there is a Retry-After,
/// `u` the reply's ticket does not count, `d` a 503 proves nothing, `t` and `f` the words "too many" mean throttled or
/// failed, `k` the other token. Then the body.
pub(super) fn reply(data: &[u8]) {
    let (first, bytes) = super::split(data);
    let digits: String = first.chars().take_while(char::is_ascii_digit).collect();
    let status = digits.parse().unwrap_or(200);
    let is = |letter| first.contains(letter);
    let body = match (is('c'), is('l')) {
        // The network's words are never blank.
        (true, _) => Body::CutShort(Trouble::Broken(format!("broken: {}", String::from_utf8_lossy(bytes)))),
        (_, true) => Body::TooLarge,
        _ => Body::Whole(bytes.to_vec()),
    };
    let meaning = if is('t') { Meaning::Throttled } else { Meaning::Failed };
    let rule = ReplyRule { text: "too many".to_owned(), meaning };
    let rules = Rules {
        check_reply_id: !is('u'),
        trust_503: !is('d'),
        replies: if is('t') || is('f') { vec![rule] } else { Vec::new() },
    };
    let retry_after = if is('r') { vec!["120".to_owned()] } else { Vec::new() };
    let came = Ok(Reply { status, wait: WaitHeaders { retry_after, ..WaitHeaders::default() }, body });
    let token = Token::new(TOKENS[usize::from(is('k'))].to_owned()).expect("a token");
    let ticket = TicketId::parse(&TICKET.to_string()).expect("a ticket");
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_784_894_400);
    let verdict = verdict::read(&came, ticket, &rules, now);

    let whole = if is('c') || is('l') { None } else { Says::of(bytes) };
    let can_be_applied = (200..=299).contains(&status)
        && whole.as_ref().is_some_and(|says| says.success && (says.same_ticket || !rules.check_reply_id));
    assert_eq!(verdict == Verdict::Applied, can_be_applied, "{verdict:?} for {status} and {whole:?}");
    // Nothing is called refused around a success: somebody would send it again.
    if whole.is_some_and(|says| says.success) && status != 429 && status != 503 {
        let refused =
            matches!(verdict, Verdict::Failed(_) | Verdict::NotSent { .. } | Verdict::Throttled(..));
        assert!(!refused, "{verdict:?} for {status} and a success");
    }
    // A status has come, so the request had left.
    assert!(!matches!(verdict, Verdict::NotSent { .. } | Verdict::Certificate(_)), "{verdict:?}");
    if (500..=599).contains(&status) && status != 503 && rules.replies.is_empty() {
        assert!(
            matches!(verdict, Verdict::InDoubt { .. } | Verdict::Credentials(_)),
            "{verdict:?} for {status}"
        );
    }

    let verdict = verdict.tidied(|said| proprofs::tidy(&token, said));
    if let Some(note) = verdict.note() {
        super::assert_tells(&note.message);
        assert!(!note.message.contains(token.expose()), "the token is in {:?}", note.message);
        assert!(note.message.chars().count() <= 2 * deskload::text::MESSAGE_CHARS_MAX);
    }
}

/// What a body says, read by other means: the members one by one, counted, and once more as one whole.
#[derive(Debug)]
struct Says {
    success: bool,
    same_ticket: bool,
}

impl Says {
    /// `None` if it is no JSON object, or says one of the documented words twice.
    fn of(bytes: &[u8]) -> Option<Self> {
        let Members(members) = serde_json::from_slice(bytes).ok()?;
        // What stands there, and whether it stands there again.
        let one = |name: &str| {
            let mut all = members.iter().filter(|(key, _)| key == name).map(|(_, value)| *value);
            (all.next(), all.next().is_some())
        };
        let [(status, false), (ticket, false), (_, false)] = ["status", "ticket_id", "description"].map(one)
        else {
            return None;
        };
        let success =
            status.is_some_and(|status| status.get().parse::<Value>().is_ok_and(|it| it == "success"));
        let same_ticket = ticket.is_some_and(|ticket| {
            let digits = ticket.get().parse::<Value>().ok().and_then(|value| match value {
                Value::String(text) => Some(text),
                Value::Number(number) => number.as_u64().map(|number| number.to_string()),
                _ => None,
            });
            digits.is_some_and(|digits| digits.trim_start_matches('0') == TICKET.to_string())
        });
        if success && let Ok(whole) = serde_json::from_slice::<Value>(bytes) {
            assert_eq!(whole["status"], "success");
        }
        Some(Self { success, same_ticket })
    }
}

/// The members of an object, equal keys and all. A list is none.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}
