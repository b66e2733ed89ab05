"""REPORT: what is known of the models, text, pictures, pages; is it the last commit's?"""
