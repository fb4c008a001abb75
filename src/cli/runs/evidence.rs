//! Prints the evidence of a run: how both sides were read.

use crate::{
    cli::{
        out::{Out, State},
        table::{Column, column},
        words::{count, thin},
    },
    model::{Evidence, ObjectKind, ReadEvidence, SideEvidence},
};

/// Prints how both sides were read; prints nothing for a run that read nothing, or that kept no evidence.
pub(super) fn show(out: &Out, evidence: &Evidence) {
    side(out, "at the source", &evidence.source);
    side(out, "at the target", &evidence.target);
}

fn side(out: &Out, name: &str, side: &SideEvidence) {
    let rows = rows(side);
    if !rows.is_empty() {
        out.table(&columns(name), rows);
    }
    for (kind, read) in &side.read {
        for sentence in sentences(*kind, read) {
            out.prose(4, format!("  {sentence}"));
        }
    }
    if !side.rights.is_empty() {
        out.prose(4, format!("  Rights {name}: {}.", side.rights.join(", ")));
    }
    for lacks in &side.lacks {
        out.lines(out.noted(State::No, "missing right", lacks));
    }
    for silent in &side.silent_providers {
        out.lines(out.noted(State::No, "not confirmed", silent));
    }
}

fn columns(name: &str) -> [Column<'_>; 7] {
    let number = |head| column(head).right();
    [
        column(name),
        number("count before"),
        number("read"),
        number("count after"),
        number("pages"),
        number("repeats"),
        number("last good"),
    ]
}

/// Returns a row for each kind of object that was listed.
fn rows(side: &SideEvidence) -> Vec<Vec<String>> {
    let listed = side.read.iter().filter(|(_, read)| read.lists > 0);
    listed.map(|(kind, read)| row(*kind, read)).collect()
}

fn row(kind: ObjectKind, read: &ReadEvidence) -> Vec<String> {
    let name = match kind {
        // The whole word does not fit beside numbers of a million.
        ObjectKind::OrganizationMembers => "org. members",
        _ => words(kind).1,
    };
    let some = |number: Option<usize>| number.map_or_else(|| "-".to_owned(), thin);
    vec![
        format!("  {name}"),
        some(read.count_before),
        thin(read.read),
        some(read.count_after),
        thin(read.pages),
        thin(read.repeats),
        some(read.last_good),
    ]
}

/// Returns the singular and the plural of a kind of object.
fn words(kind: ObjectKind) -> (&'static str, &'static str) {
    match kind {
        ObjectKind::Users => ("user", "users"),
        ObjectKind::Groups => ("group", "groups"),
        ObjectKind::Accounts => ("account", "accounts"),
        ObjectKind::Members => ("member", "members"),
        ObjectKind::RoleHolders => ("role holder", "role holders"),
        ObjectKind::OrganizationMembers => ("organization member", "organization members"),
        ObjectKind::FederatedUsers => ("federated user", "federated users"),
    }
}

/// Describes what the table has no column for.
fn sentences(kind: ObjectKind, read: &ReadEvidence) -> Vec<String> {
    let (one, many) = words(kind);
    let verb = |number: usize| if number == 1 { "was" } else { "were" };
    let mut sentences = Vec::new();
    if read.rereads > 0 {
        let lists = count(read.rereads, "list", "lists");
        let verb = verb(read.rereads);
        sentences.push(format!("{lists} of {many} {verb} read again, because its pages or its count did not fit."));
    }
    if read.unreadable > 0 {
        let unreadable = count(read.unreadable, one, many);
        sentences.push(format!("{unreadable} {} listed, but could not be read.", verb(read.unreadable)));
    }
    if read.recorded > 0 {
        let recorded = count(read.recorded, one, many);
        let verb = verb(read.recorded);
        sentences.push(format!("{recorded} {verb} not read again, as the server counts as many as are recorded."));
    }
    let by_id = read.by_id;
    if by_id.asked > 0 {
        let asked = count(by_id.asked, one, many);
        let how = match kind {
            ObjectKind::FederatedUsers => "asked for at their providers",
            _ => "read by id",
        };
        let answers = [(by_id.found, "found"), (by_id.gone, "gone"), (by_id.unconfirmed(), "not confirmed")];
        let answers = answers.into_iter().filter(|(number, _)| *number > 0);
        let answers: Vec<String> = answers.map(|(number, what)| format!("{} {what}", thin(number))).collect();
        sentences.push(format!("{asked} {how}: {}.", answers.join(", ")));
    }
    sentences
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;
    use crate::{cli::table::render, model::ById};

    fn lines(name: &str, side: &SideEvidence) -> Vec<String> {
        render(&columns(name), &rows(side), Some(80))
    }

    #[test]
    fn a_million_of_each_fits_eighty_columns_and_nothing_is_cut() {
        let million = Some(1_000_000);
        let read = ReadEvidence {
            count_before: million,
            count_after: million,
            read: 1_000_000,
            lists: 1,
            pages: 10_000,
            repeats: 100,
            last_good: million,
            ..ReadEvidence::default()
        };
        let mut side = SideEvidence::default();
        for kind in [ObjectKind::Users, ObjectKind::Accounts, ObjectKind::OrganizationMembers] {
            side.add(kind, &read);
        }
        let lines = lines("at the source", &side);
        assert!(lines.iter().all(|line| line.width() <= 80 && !line.contains('…')), "{lines:#?}");
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn numbers_that_the_server_does_not_report_are_dashes_and_kinds_that_were_not_listed_have_no_row() {
        let mut side = SideEvidence::default();
        side.add(ObjectKind::Accounts, &ReadEvidence { read: 12, lists: 1, pages: 2, ..ReadEvidence::default() });
        side.by_id(ObjectKind::Users).answered(None);
        let expected = [
            "at the target  count before  read  count after  pages  repeats  last good",
            "  accounts                -    12            -      2        0          -",
        ];
        assert_eq!(lines("at the target", &side), expected);
    }

    #[test]
    fn what_has_no_column_is_a_sentence() {
        let read = ReadEvidence {
            rereads: 1,
            unreadable: 2,
            recorded: 40,
            by_id: ById { asked: 4, found: 1, gone: 2 },
            ..ReadEvidence::default()
        };
        let expected = [
            "1 list of members was read again, because its pages or its count did not fit.",
            "2 members were listed, but could not be read.",
            "40 members were not read again, as the server counts as many as are recorded.",
            "4 members read by id: 1 found, 2 gone, 1 not confirmed.",
        ];
        assert_eq!(sentences(ObjectKind::Members, &read), expected);
        assert!(sentences(ObjectKind::Members, &ReadEvidence::default()).is_empty());
    }
}
