//! Deliveries without their payload.

/// The columns of a delivery's overview, from [`overview_tables`].
macro_rules! overview_columns {
    () => {
        "d.id, d.format, d.created_at, d.rearmed_at, d.attempts_spent, \
         d.state, d.due_at, d.finished_at, d.fail_reason, d.cancel_reason, d.cancelled_by, \
         w.id, w.scope_kind, w.scope_project, w.scope_name, w.name, w.deleted_at IS NOT NULL, \
         (SELECT COUNT(*) FROM attempts WHERE delivery_number = d.number), \
         a.started_at, a.duration, a.status, a.text, CASE WHEN a.outcome = 'throttled' THEN a.response_body END, \
         d.ping_id, e.id, e.key, e.kind, e.subject_kind, e.subject_project, e.subject_name"
    };
}
pub(crate) use overview_columns;

/// The tables of a delivery's overview. The last attempt is found by reading all of the delivery's attempts, which are few.
macro_rules! overview_tables {
    () => {
        " FROM deliveries d JOIN webhooks w ON w.number = d.webhook_number \
         LEFT JOIN events e ON e.number = d.event_number \
         LEFT JOIN attempts a ON a.number = (SELECT number FROM attempts \
             WHERE delivery_number = d.number ORDER BY started_at DESC, number DESC LIMIT 1) "
    };
}
pub(crate) use overview_tables;
