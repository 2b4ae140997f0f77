import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRequestLine, reasonIn } from './request-log.ts';

const LINE =
  '[2026-11-21T10:15:30.123Z] "GET /orders?x=1 HTTP/1.1" 403 - rbac_access_denied_matched_policy[ns[shop]-policy[no-orders]-rule[1]] - "-" 0 19 2 - "10.244.1.3" "curl/8.5 \\"x\\"" "0af7-id" "order.shop" "-" inbound-vip|80|http|order.shop.svc.cluster.local - 10.96.0.7:80 10.244.1.3:40000 - default';

test('a line of the default text format', () => {
  const line = parseRequestLine(`waypoint-1 ${LINE}`);
  assert.deepEqual(
    [line?.method, line?.path, line?.status, line?.durationMs, line?.requestId, line?.authority, line?.cluster],
    ['GET', '/orders?x=1', 403, 2, '0af7-id', 'order.shop', 'inbound-vip|80|http|order.shop.svc.cluster.local'],
  );
  assert.deepEqual(
    [line?.downstreamLocal, line?.downstreamRemote, line?.routeName],
    ['10.96.0.7:80', '10.244.1.3:40000', 'default'],
  );
});

test('a line of the default JSON format, and other lines', () => {
  const json = JSON.stringify({ response_code: 200, request_id: 'a', method: 'GET', duration: 3, response_flags: '-' });
  assert.deepEqual([parseRequestLine(json)?.requestId, parseRequestLine(json)?.durationMs], ['a', 3]);
  for (const other of ['', '{', '{}', 'a\tinfo\tb', '[x] "GET"', '[a] "b c d" e f g'])
    assert.equal(parseRequestLine(other), undefined, other);
});

test('what details and flags mean', () => {
  const reason = (details: string, flags = '-'): string => reasonIn({ details, flags });
  assert.equal(reason(parseRequestLine(LINE)?.details ?? ''), 'rule 2 of shop/no-orders denies it');
  assert.equal(reason('via_upstream'), 'the endpoint answered so');
  assert.equal(reason('jwt_authn_access_denied{Jwt_is_expired}'), 'the token was refused: Jwt is expired');
  assert.match(reason('response_timeout', 'UT'), /timeout/);
  assert.equal(reason('something_new'), 'something_new');
});
