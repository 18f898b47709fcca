"""The first example of Flask's documentation."""
from flask import Flask

application = Flask(__name__)


@application.route('/')
def hello():
    return 'Hello World!'
