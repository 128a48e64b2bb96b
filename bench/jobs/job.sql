CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL, kind INTEGER);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150000)
INSERT INTO item SELECT i, 'item ' || (i * 7919 % 150000), (i * 31 % 1000) / 8.0, i % 50 FROM n;
CREATE INDEX item_name ON item(name);
CREATE INDEX item_kind ON item(kind, price);
SELECT kind, count(*), sum(price), max(name) FROM item GROUP BY kind ORDER BY 3 DESC LIMIT 5;
SELECT count(*) FROM item a JOIN item b ON a.name = b.name WHERE a.kind = 7;
SELECT sum(length(name)) FROM item WHERE name LIKE '%99%';
UPDATE item SET price = price * 2 WHERE kind < 10;
SELECT sum(price) FROM item;
