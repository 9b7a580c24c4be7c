//! Counting anew what is unread after `read_position`.

/// Sets the marks chosen by what follows `WHERE` so that exactly the events after their `read_position` count.
/// `$1`, `$2`: by how much this commit has raised the totals already. `$3`: the position if the count changes.
/// At most the events that are kept (see `events::commit::KEPT`) are counted.
pub(crate) fn sql(chosen: &str) -> String {
    const TOTAL: &str = "FROM push_totals t WHERE t.room_id = push_marks.room_id AND t.thread_id = push_marks.thread_id";
    const UNREAD: &str = "WHERE e.room_id = push_marks.room_id AND e.thread_id = push_marks.thread_id \
         AND e.position > push_marks.read_position";
    const EVENTS: &str = "FROM push_events e LEFT JOIN push_exceptions x ON x.room_id = e.room_id \
         AND x.position = e.position AND x.user_id = push_marks.user_id";
    let unread = |what: &str| {
        format!(
            "(SELECT COUNT(*) {EVENTS} {UNREAD} AND e.sender <> push_marks.user_id \
             AND COALESCE(x.{what}, e.{what}) = 1)"
        )
    };
    let (notify, highlight) = (unread("notify"), unread("highlight"));
    format!(
        "UPDATE push_marks SET position = CASE \
         WHEN (SELECT t.notifications {TOTAL}) - $1 - push_marks.notifications <> {notify} \
         OR (SELECT t.highlights {TOTAL}) - $2 - push_marks.highlights <> {highlight} \
         THEN $3 ELSE push_marks.position END, \
         same_at = $3, \
         notifications = (SELECT t.notifications {TOTAL}) - {notify}, \
         highlights = (SELECT t.highlights {TOTAL}) - {highlight} \
         WHERE {chosen}"
    )
}
