-- Who shows a picture. What is longer than an mxc URI can be is not looked for, and would not fit into an index everywhere.
CREATE INDEX accounts_users_avatar ON accounts_users (avatar_url) WHERE length(avatar_url) <= 600;
