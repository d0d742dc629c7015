-- Enters names into the index of namespaces, in a cluster.
--
-- KEYS  the index of namespaces and its witness
-- ARGV  the names

enter_names(KEYS[1], KEYS[2], ARGV)
return 0
