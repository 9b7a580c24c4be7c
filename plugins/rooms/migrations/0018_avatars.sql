-- Who shows a picture. Member events of other servers name what they like; what is longer than an mxc URI can be is not looked for, and
-- would not fit into an index everywhere.
CREATE INDEX rooms_memberships_avatar ON rooms_memberships (avatar_url) WHERE length(avatar_url) <= 600;
