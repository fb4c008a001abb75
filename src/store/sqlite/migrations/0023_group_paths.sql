-- The path of the source group when its place in the tree was last taken into account; NULL while it is not known.
ALTER TABLE source_group ADD COLUMN path TEXT;
