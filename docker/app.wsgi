"""The page of an image that nobody has put an application into yet."""

PAGE = b"""<!doctype html>
<meta charset="utf-8">
<title>mod_rustgi</title>
<h1>It works!</h1>
<p>This is mod_rustgi. To serve your application, make an image of it:</p>
<pre>
FROM mod_rustgi
RUN pip install django
COPY . /var/www
</pre>
<p>where <code>/var/www/app.wsgi</code> defines <code>application</code>.</p>
"""


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(PAGE)))])
    return [PAGE]
