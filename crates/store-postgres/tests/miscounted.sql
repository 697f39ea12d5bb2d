-- Organizations whose stored counts differ from the counts of their rows.
SELECT * FROM (SELECT o.name,
    (SELECT coalesce(sum(u.pending), 0) FROM usage u WHERE u.organization_number = o.number) AS pending,
    (SELECT coalesce(sum(u.stored_bytes), 0) FROM usage u WHERE u.organization_number = o.number) AS stored_bytes,
    (SELECT count(*) FROM deliveries d WHERE d.organization_number = o.number AND d.state = 'pending')
        AS pending_recounted,
    (SELECT coalesce(sum(octet_length(e.payload)), 0) FROM events e WHERE e.organization_number = o.number)
    + (SELECT coalesce(sum(octet_length(d.body)), 0) FROM deliveries d WHERE d.organization_number = o.number)
    + (SELECT coalesce(sum(octet_length(a.request_headers) + coalesce(octet_length(a.response_headers), 0)
            + coalesce(octet_length(a.response_body), 0)), 0)
        FROM attempts a JOIN webhooks w ON w.number = a.webhook_number WHERE w.organization_number = o.number)
        AS stored_bytes_recounted
    FROM organizations o) AS counts
    WHERE (pending, stored_bytes) <> (pending_recounted, stored_bytes_recounted)
