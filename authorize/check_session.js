// The OP iframe of OpenID Connect Session Management 1.0, section 3.2. An
// application's page embeds it, posts "client_id session_state" and is answered
// "unchanged", "changed" or "error". Nothing is sent over the network.
(function () {
  'use strict';

  var cookie = document.getElementById('check').getAttribute('data-cookie') + '=';

  // SHA-256 (FIPS 180-4). Web Crypto is not there if one of the embedding pages came
  // over http, as in development.
  var k = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
  ];

  function rotate(x, n) { return (x >>> n) | (x << (32 - n)); }

  function sha256(text) {
    var bytes = unescape(encodeURIComponent(text)); // UTF-8, one character for each byte
    var bits = bytes.length * 8, h, i, start, w, s, t1, t2;
    bytes += '\x80';
    while (bytes.length % 64 !== 56) { bytes += '\0'; }
    bytes += '\0\0\0\0'; // what is hashed is far below 2^32 bits
    for (i = 24; i >= 0; i -= 8) { bytes += String.fromCharCode((bits >>> i) & 255); }
    h = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
    for (start = 0; start < bytes.length; start += 64) {
      w = [];
      for (i = 0; i < 16; i++) {
        w[i] = (bytes.charCodeAt(start + 4 * i) << 24) | (bytes.charCodeAt(start + 4 * i + 1) << 16) |
          (bytes.charCodeAt(start + 4 * i + 2) << 8) | bytes.charCodeAt(start + 4 * i + 3);
      }
      for (i = 16; i < 64; i++) {
        t1 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >>> 3);
        t2 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >>> 10);
        w[i] = (w[i - 16] + t1 + w[i - 7] + t2) | 0;
      }
      s = h.slice();
      for (i = 0; i < 64; i++) {
        t1 = (s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i]) | 0;
        t2 = ((rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]))) | 0;
        s = [(t1 + t2) | 0, s[0], s[1], s[2], (s[3] + t1) | 0, s[4], s[5], s[6]];
      }
      for (i = 0; i < 8; i++) { h[i] = (h[i] + s[i]) | 0; }
    }
    for (i = 0; i < 8; i++) { h[i] = ('0000000' + (h[i] >>> 0).toString(16)).slice(-8); }
    return h.join('');
  }

  // What the browser knows of its session here, empty if there is no such cookie.
  function browserState() {
    var all = document.cookie.split('; '), i;
    for (i = 0; i < all.length; i++) {
      if (all[i].indexOf(cookie) === 0) { return all[i].slice(cookie.length); }
    }
    return '';
  }

  window.addEventListener('message', function (e) {
    // A frame without an origin is no application's, and could not be answered alone.
    if (!e.source || e.origin === 'null' || e.origin === '') { return; }
    function answer(text) { e.source.postMessage(text, e.origin); }

    var message = typeof e.data === 'string' && e.data.length <= 1024 ? /^(.+) ([0-9a-f]{64})\.([A-Za-z0-9_-]{22})$/.exec(e.data) : null;
    if (!message) { answer('error'); return; }
    var state = browserState();
    if (state === '') {
      // "changed" makes the application ask again. Where the browser keeps cookies from
      // embedded pages that would never end; "error" tells it to stop.
      if (!document.hasStorageAccess) { answer('changed'); return; }
      document.hasStorageAccess().then(function (has) { answer(has ? 'changed' : 'error'); }, function () { answer('error'); });
      return;
    }
    var expected;
    try {
      expected = sha256(message[1] + ' ' + e.origin + ' ' + state + ' ' + message[3]);
    } catch (malformed) { // half of a surrogate pair
      answer('error');
      return;
    }
    answer(expected === message[2] ? 'unchanged' : 'changed');
  }, false);
})();
