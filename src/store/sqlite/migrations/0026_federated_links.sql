-- The federation provider of a link's user becomes an object that also holds the user's login at the source.
UPDATE link SET federation = json_object('component', federation) WHERE federation IS NOT NULL;
