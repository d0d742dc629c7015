-- For a search below a scope, such as one user's memories among those of all. The beginnings
-- of three segments, since an entry of an index must be short.
CREATE INDEX {vectors_scope} ON {vectors}
    (namespace, "left"(scope[1], 60), "left"(scope[2], 60), "left"(scope[3], 60));
