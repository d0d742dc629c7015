-- For searches within a scope, such as one user's memories among all. Covers the beginnings
-- of three segments, since index entries must be short.
CREATE INDEX {vectors_scope} ON {vectors}
    (namespace, "left"(scope[1], 60), "left"(scope[2], 60), "left"(scope[3], 60));
