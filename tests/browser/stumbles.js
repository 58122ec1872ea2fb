// What a screen reader stumbles over, by rules that can be checked without judging: each finding as a line.
() => {
  const found = [], seen = new Set();
  const shown = e => e.checkVisibility ? e.checkVisibility({contentVisibilityAuto: true}) : true;
  const text = e => (e.getAttribute('aria-label') || e.innerText || e.textContent || e.getAttribute('title') || '').trim();
  for (const e of document.querySelectorAll('a[href], button, summary'))
    if (shown(e) && !text(e)) found.push('without a name: ' + e.outerHTML);
  for (const e of document.querySelectorAll('input:not([type=hidden]), select, textarea'))
    if (!(e.labels && e.labels.length) && !e.getAttribute('aria-label') && !['submit', 'button'].includes(e.type))
      found.push('without a label: ' + e.outerHTML);
  for (const e of document.querySelectorAll('[id]')) { if (seen.has(e.id)) found.push('twice: #' + e.id); seen.add(e.id); }
  for (const e of document.querySelectorAll('[aria-labelledby]'))
    for (const id of e.getAttribute('aria-labelledby').split(' ')) if (!seen.has(id)) found.push('no such label: ' + id);
  for (const e of document.querySelectorAll('main table')) {
    if (!e.caption) found.push('a table without a caption');
    for (const cell of e.querySelectorAll('th'))
      if (!cell.getAttribute('scope')) found.push('a heading of a table without a scope: ' + cell.outerHTML);
  }
  let level = 0;
  for (const e of document.querySelectorAll('h1, h2, h3, h4, h5, h6')) {
    const now = +e.tagName[1];
    if (now > level + 1) found.push('a level of headings is left out before: ' + e.textContent);
    level = now;
  }
  if (document.querySelectorAll('h1').length !== 1) found.push('not one h1');
  if (document.querySelectorAll('main').length !== 1) found.push('not one main');
  for (const e of document.querySelectorAll('nav')) if (!e.getAttribute('aria-label')) found.push('a nav without a name');
  for (const e of document.querySelectorAll('svg[role=img]')) if (!e.querySelector('title')) found.push('a picture without a name');
  if (!document.documentElement.lang) found.push('no language');
  return found;
}
