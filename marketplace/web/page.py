"""The documentation page of the API: one file, no outside scripts, so it works offline."""

from __future__ import annotations

from typing import Final

PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Gridlease market API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
details{border:1px solid #8886;border-radius:6px;margin:.4rem 0;padding:.3rem .8rem}
summary{cursor:pointer}code,pre{font:13px/1.4 ui-monospace,monospace}
pre{background:#8881;padding:.6rem;overflow:auto;border-radius:4px}
b.m{display:inline-block;width:4.5rem}h2{margin-top:2rem;text-transform:capitalize}
</style></head><body>
<h1>Gridlease market API</h1>
<p>Everything under <code>/v1</code>. Machine-readable: <a href="openapi.json">openapi.json</a>.
Errors have the body <code>{"error": {"code", "message", "what_to_do"}}</code>.</p>
<main id="routes">Loading&hellip;</main>
<script>
const el=(tag,text,parent)=>{const e=document.createElement(tag);
 if(text!==undefined)e.textContent=text;parent?.append(e);return e};
const show=(title,value,parent)=>{el('h4',title,parent);
 el('pre',JSON.stringify(value,null,2),parent)};
fetch('openapi.json').then(r=>r.json()).then(api=>{
 const main=document.getElementById('routes');main.textContent='';
 const resolve=(v,depth=0)=>{if(depth>6||v===null||typeof v!=='object')return v;
  if(v.$ref)return resolve(api.components.schemas[v.$ref.split('/').pop()],depth+1);
  if(Array.isArray(v))return v.map(x=>resolve(x,depth+1));
  return Object.fromEntries(Object.entries(v).map(([k,x])=>[k,resolve(x,depth+1)]))};
 const groups={};
 for(const[path,ops]of Object.entries(api.paths))for(const[method,op]of Object.entries(ops))
  (groups[op.tags?.[0]??'other']??=[]).push([method,path,op]);
 for(const[tag,ops]of Object.entries(groups)){el('h2',tag,main);
  for(const[method,path,op]of ops){const d=el('details',undefined,main);
   const s=el('summary',undefined,d);const m=el('b',method.toUpperCase(),s);m.className='m';
   el('code',path,s);el('span',' \\u2014 '+(op.description??op.summary??''),s);
   if(op.parameters)show('Parameters',resolve(op.parameters),d);
   const body=op.requestBody?.content?.['application/json']?.schema;
   if(body)show('Body',resolve(body),d);
   for(const[status,answer]of Object.entries(op.responses??{})){
    const schema=answer.content?.['application/json']?.schema;
    el('h4',status+': '+(answer.description??''),d);
    if(schema&&status<'300')el('pre',JSON.stringify(resolve(schema),null,2),d)}}}
});
</script></body></html>
"""
